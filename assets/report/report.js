// Makes the report's map of cells, figures and tables of genes interactive. Without it the page still holds the still
// figures and the genes with the smallest p. Nothing is fetched: data and plotly.js are in the page, compressed.
"use strict";
(() => {
  const PAGE = 25; // rows of a table at a time
  const MOST_DRAWN = 2500; // dots of a figure: SVG stays quick
  const MOST_NAMED = 12; // hits of a search that are named in the figures
  const MOST_LISTED = 36; // kinds in the legend of the map
  const MOST_SAID = 3; // kinds that the words on the map name
  const NARROW = 500; // pixels of a map whose dots are smaller
  const LONGEST = 40; // letters of a name in a figure
  const COLUMNS = ["symbol", "gene_id", "base_mean", "log2_fold_change", "lfc_se", "p_value", "padj", "robust"];
  const TINY = 1e-300;
  const byId = (id) => document.getElementById(id);

  // ---- what is embedded ----
  async function unpack(id) {
    const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  let library = null;
  function loadPlotly() {
    library ??= unpack("plotly").then((text) => {
      const script = document.createElement("script");
      script.text = text;
      document.head.append(script);
      return window.Plotly;
    });
    return library;
  }

  // ---- numbers and colours ----
  function shown(value) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (value !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(1);
    return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
  }

  // A long name without its middle: names often differ at their ends.
  function shorten(text, length = LONGEST) {
    const letters = [...text];
    if (letters.length <= length) return text;
    const head = Math.floor(((length - 1) * 2) / 3);
    return [...letters.slice(0, head), "…", ...letters.slice(letters.length - (length - 1 - head))].join("");
  }

  // A name from the data for plotly, which would read tags, links and entities in it.
  function plain(text) {
    return shorten(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
  }

  function look() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    return Object.fromEntries(["paper", "ink", "soft", "line", "up", "down", "other", "hit", "map"].map((n) => [n, colour(n)]));
  }

  const coarse = matchMedia("(pointer: coarse)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const CONFIG = { displaylogo: false, responsive: true, modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]] };

  function layout(colours, x, y, { xaxis, yaxis, ...rest } = {}) {
    const axis = { gridcolor: colours.line, linecolor: colours.soft, zerolinecolor: colours.soft, automargin: true };
    return {
      font: { color: colours.ink, size: 13 }, paper_bgcolor: colours.paper, plot_bgcolor: colours.paper,
      margin: { l: 55, r: 10, t: 30, b: 50 }, hovermode: "closest", dragmode: coarse.matches ? false : "zoom",
      xaxis: { ...axis, title: { text: x }, ...xaxis }, yaxis: { ...axis, title: { text: y }, ...yaxis },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 }, annotations: [],
      transition: { duration: still.matches ? 0 : undefined }, ...rest,
    };
  }

  // ---- a part of the page that is interactive once opened ----
  class Part {
    constructor(root, id) {
      this.root = root;
      this.id = id;
      this.part = (name) => root.querySelector(`[data-part="${name}"]`);
    }

    open() {
      this.opening ??= this.start();
    }

    async start() {
      this.data = JSON.parse(await unpack(`data-${this.id}`));
      this.plotly = await loadPlotly();
      await this.begin();
      this.root.dataset.ready = "yes";
    }

    async plot(area, traces, itsLayout) {
      await this.plotly.react(area, traces, itsLayout, CONFIG);
      // plotly.js marks its drawings in no way that a screen reader knows: the figure's words and the table do.
      area.querySelectorAll("svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
    }
  }

  // ---- the map of cells ----
  class CellMap extends Part {
    constructor(root) {
      super(root, "map");
      this.hidden = new Set();
    }

    begin() {
      const { UMAP1: x, UMAP2: y, colourings } = this.data;
      this.rows = x.map((_, i) => i);
      this.words = new Map(Object.values(colourings).filter((c) => c.names).map((c) => [c, c.names.map((n) => plain(n))]));
      this.range = [x, y].map((values) => {
        const low = Math.min(...values), high = Math.max(...values);
        const margin = (high - low) * 0.03 || 0.5;
        return [low - margin, high + margin];
      });
      this.part("by").addEventListener("change", () => this.choose());
      return this.choose();
    }

    choose() {
      this.by = this.data.colourings[this.part("by").value];
      this.hidden.clear();
      this.list();
      return this.draw();
    }

    // Cells of each kind, as [code, cells], in the order of the names.
    counts() {
      const counts = this.by.names.map((_, code) => [code, 0]);
      this.by.codes.forEach((code) => counts[code][1]++);
      return counts;
    }

    list() {
      const box = this.part("legend");
      box.hidden = !this.by.names || this.by.names.length > MOST_LISTED;
      box.replaceChildren();
      if (box.hidden) return;
      const all = document.createElement("button");
      all.className = "all";
      const buttons = this.counts().map(([code, n]) => {
        const button = document.createElement("button");
        const swatch = document.createElement("span");
        swatch.className = "swatch";
        swatch.style.backgroundColor = this.by.colours[code];
        button.append(swatch, `${shorten(this.by.names[code])} (${n.toLocaleString("en")})`);
        button.addEventListener("click", () => this.show([code], this.hidden.has(code)));
        return button;
      });
      all.addEventListener("click", () => this.show(this.by.names.map((_, code) => code), this.hidden.size > 0));
      box.append(all, ...buttons);
      box.querySelectorAll("button").forEach((button) => { button.type = "button"; });
      this.mark();
    }

    show(codes, shownNow) {
      codes.forEach((code) => (shownNow ? this.hidden.delete(code) : this.hidden.add(code)));
      this.mark();
      this.draw();
    }

    mark() {
      const [all, ...buttons] = this.part("legend").querySelectorAll("button");
      all.textContent = this.hidden.size ? "Show all" : "Hide all";
      buttons.forEach((button, code) => button.setAttribute("aria-pressed", String(!this.hidden.has(code))));
    }

    drawn() {
      const { codes, values } = this.by;
      return this.rows.filter((i) => (codes ? !this.hidden.has(codes[i]) : values[i] !== null));
    }

    // What a reader who cannot see the map is told of it.
    say(rows) {
      const { label, names, values } = this.by;
      const n = (count) => count.toLocaleString("en");
      if (names) {
        const first = this.counts().filter(([code]) => !this.hidden.has(code)).sort((a, b) => b[1] - a[1]);
        const listed = first.slice(0, MOST_SAID).map(([code, cells]) => `${shorten(names[code])} (${n(cells)})`).join(", ");
        return `${label}: ${n(rows.length)} cells, ${n(first.length)} of ${n(names.length)} kinds shown` +
          `${first.length ? `; most cells: ${listed}` : ""}.`;
      }
      if (!rows.length) return `${label}: not known for these cells.`;
      const sorted = rows.map((i) => values[i]).sort((a, b) => a - b);
      const missing = values.length - rows.length;
      return `${label}: ${n(rows.length)} cells, from ${shown(sorted[0])} to ${shown(sorted.at(-1))}, ` +
        `median ${shown(sorted[Math.floor(sorted.length / 2)])}${missing ? `; ${n(missing)} cells without it are not drawn` : ""}.`;
    }

    hover(i) {
      const { cell_type: type, donor_id: donor, sex, age_years: age } = this.data.colourings;
      const word = (colouring) => this.words.get(colouring)[colouring.codes[i]];
      // A cohort without ages or sexes has no such colouring.
      const years = age && (age.values[i] === null ? "age unknown" : `${shown(age.values[i])} years`);
      const facts = [years, sex && word(sex)].filter((fact) => fact).join(", ");
      const lines = [word(type), `donor ${word(donor)}${facts ? `: ${facts}` : ""}`];
      if (![type, donor, sex, age].includes(this.by)) {
        lines.push(`${plain(this.by.label)}: ${this.by.names ? word(this.by) : shown(this.by.values[i])}`);
      }
      return lines.join("<br>");
    }

    // One trace in the table's random order: a trace a kind would draw the last kind over all others.
    async draw() {
      const { label, codes, colours: own, values, limits } = this.by;
      const colours = look();
      const area = this.part("map");
      const rows = this.drawn();
      const paint = values
        ? {
          color: rows.map((i) => values[i]), colorscale: "Viridis", cmin: limits[0], cmax: limits[1], showscale: true,
          colorbar: { orientation: "h", yref: "container", y: 0.985, yanchor: "top", ypad: 0, thickness: 12, title: { text: plain(label), side: "top" } },
        }
        : { color: rows.map((i) => own[codes[i]]) };
      const trace = {
        type: "scatter", mode: "markers", name: plain(label), showlegend: false,
        x: rows.map((i) => this.data.UMAP1[i]), y: rows.map((i) => this.data.UMAP2[i]),
        text: rows.map((i) => this.hover(i)), hovertemplate: "%{text}<extra></extra>",
        marker: { size: area.clientWidth < NARROW ? 4 : 5, opacity: 0.8, ...paint },
      };
      const axis = { showgrid: false, zeroline: false, showticklabels: false, automargin: false };
      const [xRange, yRange] = this.range;
      this.part("said").textContent = this.say(rows);
      // There is always room for a colour bar above, so that the cells stay where they are.
      await this.plot(area, [trace], layout(colours, "UMAP 1", "UMAP 2", {
        xaxis: { ...axis, range: xRange }, yaxis: { ...axis, range: yRange }, margin: { l: 30, r: 10, t: 72, b: 36 },
        plot_bgcolor: colours.map, uirevision: "zoom stays when the colours change",
      }));
    }
  }

  // ---- one cell type ----
  class Explorer extends Part {
    constructor(root) {
      super(root, root.dataset.type);
      this.unit = root.dataset.unit;
      this.term = root.dataset.term;
      this.up = root.dataset.up;
      this.down = root.dataset.down;
      this.alpha = Number(root.dataset.alpha);
      this.page = 0;
      this.order = { column: "p_value", down: false };
      this.chosen = null;
    }

    begin() {
      const data = this.data;
      this.names = data.symbol.map((symbol, i) => symbol || data.gene_id[i]);
      this.search = this.names.map((name, i) => `${name}\n${data.gene_id[i]}`.toLowerCase());
      this.rows = this.names.map((_, i) => i);
      this.listen();
      this.fill();
      this.choose(this.rows.length ? 0 : null);
      return this.drawing;
    }

    values(i) {
      return this.data.expression?.genes[this.data.gene_id[i]];
    }

    called(i) {
      const p = this.data.padj[i];
      return p !== null && p < this.alpha;
    }

    listen() {
      const box = this.part("search");
      box.addEventListener("input", () => this.find(box.value));
      box.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && this.rows.length) this.choose(this.rows[0]);
      });
      this.part("table").querySelectorAll("thead th").forEach((heading) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...heading.childNodes);
        heading.append(button);
        button.addEventListener("click", () => {
          const column = heading.dataset.column;
          const text = column === "symbol" || column === "gene_id";
          const same = this.order.column === column;
          this.order = { column, down: same ? !this.order.down : !text && !column.startsWith("p") };
          this.page = 0;
          this.fill();
        });
      });
      this.part("previous").addEventListener("click", () => this.turn(-1));
      this.part("next").addEventListener("click", () => this.turn(1));
      this.part("download").addEventListener("click", () => this.download());
    }

    find(text) {
      const words = text.trim().toLowerCase();
      this.rows = this.names.map((_, i) => i).filter((i) => this.search[i].includes(words));
      this.hits = words ? this.rows.slice(0, MOST_NAMED) : [];
      this.page = 0;
      this.fill();
      const exact = this.rows.find((i) => this.search[i].split("\n").includes(words));
      if (exact !== undefined) this.choose(exact);
      else this.draw();
    }

    // The order of the table: by the column, genes without a number last, ties by p as they came.
    sorted() {
      const { column, down } = this.order;
      const values = column === "symbol" ? this.names : this.data[column];
      const sign = down ? -1 : 1;
      const compare = (a, b) => {
        if (values[a] === null || values[b] === null) return (values[a] === null) - (values[b] === null);
        if (typeof values[a] === "string") return sign * values[a].localeCompare(values[b], "en", { numeric: true });
        return sign * (values[a] - values[b]);
      };
      return [...this.rows].sort((a, b) => compare(a, b) || a - b);
    }

    fill() {
      const all = this.sorted();
      const rows = all.slice(this.page * PAGE, (this.page + 1) * PAGE);
      const body = this.part("table").tBodies[0];
      body.replaceChildren(...rows.map((i) => this.row(i)));
      this.part("table").querySelectorAll("thead th").forEach((heading) => {
        const own = heading.dataset.column === this.order.column;
        if (own) heading.setAttribute("aria-sort", this.order.down ? "descending" : "ascending");
        else heading.removeAttribute("aria-sort");
      });
      const first = all.length ? this.page * PAGE + 1 : 0;
      this.part("count").textContent = all.length
        ? `Genes ${first} to ${first + rows.length - 1} of ${all.length.toLocaleString("en")}`
        : "No gene of this name is in the page";
      this.part("previous").disabled = this.page === 0;
      this.part("next").disabled = (this.page + 1) * PAGE >= all.length;
    }

    row(i) {
      const row = document.createElement("tr");
      COLUMNS.forEach((column) => {
        const value = this.data[column][i];
        const cell = document.createElement(column === "symbol" ? "th" : "td");
        if (column === "symbol") {
          cell.scope = "row";
          const button = document.createElement("button");
          button.type = "button";
          button.className = "gene";
          button.textContent = this.names[i];
          button.setAttribute("aria-pressed", String(i === this.chosen));
          button.addEventListener("click", () => this.choose(i));
          cell.append(button);
        } else if (column === "gene_id") cell.textContent = value;
        else if (column === "robust") cell.textContent = value ? "yes" : "no";
        else {
          cell.className = "n";
          cell.textContent = shown(value);
        }
        row.append(cell);
      });
      return row;
    }

    turn(by) {
      this.page += by;
      this.fill();
    }

    download() {
      const line = (i) => COLUMNS.map((column) => this.data[column][i] ?? "NA").join("\t");
      const text = [COLUMNS.join("\t"), ...this.sorted().map(line), ""].join("\n");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" }));
      link.download = `${this.id}_genes.tsv`;
      link.click();
      URL.revokeObjectURL(link.href);
    }

    choose(i) {
      this.chosen = i;
      this.part("table").querySelectorAll("button.gene").forEach((button) => {
        button.setAttribute("aria-pressed", String(i !== null && button.textContent === this.names[i]));
      });
      if (i !== null) {
        const d = this.data;
        this.part("said").textContent =
          `${this.names[i]}: log2 fold change ${shown(d.log2_fold_change[i])} ${this.unit}, adjusted p ${shown(d.padj[i])}, ` +
          `mean count ${shown(d.base_mean[i])}.`;
      }
      this.draw();
    }

    // Dots to draw: as many called genes as fit, and of the others every so many; the rest can be searched.
    drawn() {
      const n = this.names.length;
      const called = Math.min(this.data.n_called, MOST_DRAWN - 500);
      const step = Math.max(1, Math.ceil((n - called) / (MOST_DRAWN - called)));
      return this.names.map((_, i) => i).filter((i) => i < called || (i - called) % step === 0);
    }

    draw() {
      this.drawing = this.drawGenes().then(() => this.drawAge());
      return this.drawing;
    }

    async drawGenes() {
      const d = this.data;
      const colours = look();
      const kinds = [
        ["not called", (i) => !this.called(i), colours.other, "circle", 4],
        [this.up, (i) => this.called(i) && d.log2_fold_change[i] > 0, colours.up, "triangle-up", 7],
        [this.down, (i) => this.called(i) && d.log2_fold_change[i] <= 0, colours.down, "triangle-down", 7],
      ];
      const height = (i) => -Math.log10(Math.max(d.p_value[i], TINY));
      const hits = [...new Set([...(this.hits || []), ...(this.chosen === null ? [] : [this.chosen])])];
      const places = {
        volcano: [(i) => d.log2_fold_change[i], height, `log2 fold change ${this.unit}`, "-log10 p", {}],
        ma: [(i) => d.base_mean[i], (i) => d.log2_fold_change[i], "Mean count (normalised)",
          `log2 fold change ${this.unit}`, { xaxis: { type: "log" } }],
      };
      for (const [name, [x, y, xTitle, yTitle, extra]] of Object.entries(places)) {
        const trace = (rows, rest) => ({
          type: "scatter", x: rows.map(x), y: rows.map(y), customdata: rows,
          text: rows.map((i) => `${plain(this.names[i])}<br>log2 fold change ${shown(d.log2_fold_change[i])}<br>adjusted p ${shown(d.padj[i])}`),
          hovertemplate: "%{text}<extra></extra>", ...rest,
        });
        const traces = kinds.map(([label, belongs, color, symbol, size]) =>
          trace(this.drawn().filter(belongs), { name: label, mode: "markers", marker: { color, symbol, size, opacity: 0.8 } }));
        traces.push(trace(hits, {
          name: "found", mode: "markers", showlegend: false,
          marker: { color: "rgba(0,0,0,0)", symbol: "circle", size: 13, line: { color: colours.hit, width: 2.5 } },
        }));
        const annotations = hits.map((i) => ({
          x: name === "ma" ? Math.log10(x(i)) : x(i), y: y(i), text: plain(this.names[i]), showarrow: true, arrowhead: 0, ax: 0, ay: -22,
          font: { color: colours.ink }, bgcolor: colours.paper, arrowcolor: colours.hit,
        }));
        const area = this.part(name);
        await this.plot(area, traces, layout(colours, xTitle, yTitle, { ...extra, annotations }));
        if (!area.dataset.listens) {
          area.dataset.listens = "yes";
          area.on("plotly_click", (event) => this.choose(event.points[0].customdata));
        }
      }
    }

    async drawAge() {
      const area = this.part("age");
      const words = this.part("age-said");
      const values = this.chosen === null ? null : this.values(this.chosen);
      const { age_years: ages, term_value: own } = this.data.expression || {};
      const known = values && (own || ages).some((value) => value !== null);
      area.hidden = !known;
      if (!values) {
        if (this.chosen !== null) {
          words.textContent = `${this.names[this.chosen]}: this page holds the donors' expression of ` +
            `${Object.keys(this.data.expression?.genes || {}).length} genes, and not of this one. ` +
            "Name it in --report_genes, or take its counts from pseudobulk/pseudobulk.h5ad.";
        }
        return;
      }
      if (!known) return;
      const { donor_id: donors, sex } = this.data.expression;
      // Against the tested term where that is not age.
      const at = own ? own.map((value) => (typeof value === "string" ? plain(value) : value)) : ages;
      const [label, unit] = own ? [plain(this.term), ""] : ["Age (years)", " years"];
      const said = own ? `samples by ${this.term}. Each dot is a sample.` : "donors by age. Each dot is a donor.";
      const colours = look();
      const symbols = ["circle", "diamond", "square", "cross"];
      const marks = [colours.down, colours.up, colours.soft, colours.other];
      const traces = [...new Set(sex)].sort().map((kind, k) => {
        const rows = donors.map((_, i) => i).filter((i) => sex[i] === kind);
        return {
          type: "scatter", mode: "markers", name: plain(kind), x: rows.map((i) => at[i]), y: rows.map((i) => values[i]),
          text: rows.map((i) => plain(donors[i])), hovertemplate: `%{text}<br>%{x}${unit}<br>%{y} log2 CPM<extra></extra>`,
          marker: { color: marks[k % 4], symbol: symbols[k % 4], size: 8, opacity: 0.8 },
        };
      });
      words.textContent = `${this.names[this.chosen]}: log2 counts per million of ${donors.length} ${said}`;
      const extra = own ? { xaxis: { categoryorder: "category ascending" } } : {};
      await this.plot(area, traces, layout(colours, label, `${plain(this.names[this.chosen])}, log2 CPM`, extra));
    }
  }

  const parts = new Map();
  function open(root, Kind) {
    if (!parts.has(root)) parts.set(root, new Kind(root));
    parts.get(root).open();
  }

  function openIn(details) {
    details.querySelectorAll("[data-type]").forEach((root) => open(root, Explorer));
  }

  // The map is drawn when it is about to be seen, so that the page opens fast.
  function openWhenNear(root) {
    const near = new IntersectionObserver((entries) => {
      // A busy page hands over several at once: far at first, near since.
      if (!entries.some((entry) => entry.isIntersecting)) return;
      near.disconnect();
      open(root, CellMap);
    }, { rootMargin: "50%" });
    near.observe(root);
  }

  // A link to a closed cell type opens it.
  function follow() {
    const target = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
    if (target?.tagName === "DETAILS") {
      target.open = true;
      target.scrollIntoView();
    }
  }

  if (!("DecompressionStream" in window)) return;
  document.documentElement.classList.add("js");
  document.querySelectorAll("details").forEach((details) => {
    details.addEventListener("toggle", () => details.open && openIn(details));
    if (details.open) openIn(details);
  });
  document.querySelectorAll("[data-map]").forEach(openWhenNear);
  addEventListener("hashchange", follow);
  follow();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    parts.forEach((part) => part.root.dataset.ready && part.draw());
  });
})();
