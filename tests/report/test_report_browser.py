"""The report in a real browser: figures are drawn, search, sort, colouring and download work, axe finds nothing.

Needs Debian's chromium (`apt-get install chromium`), which .ci/run installs.
"""

import io
import shutil

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from immune_aging.figures.style import colours_for, shorten
from immune_aging.task.checkpoints import read_tsv, write_tsv
from inputs.report_inputs import GENES, KEPT, SCRIPT_NAME, SLUGS, write_inputs
from report_runs import add_figure, trees_of, write

WIDTHS = (1280, pytest.param(390, marks=pytest.mark.long))
SCHEMES = ("light", pytest.param("dark", marks=pytest.mark.long))
FITTED = [SLUGS[name] for name in ("B cell", "CD14-positive monocyte", "CD4-positive, alpha-beta T cell", SCRIPT_NAME)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    for stem in ("volcano", "ma", "gsea"):
        add_figure(folder / "plot_cell_type/published", f"cell_types/b_cell/figures/{stem}")
    return folder


@pytest.fixture(scope="module")
def address(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write(inputs, folder)
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("no chromium on PATH; install Debian's package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser, address, *, types=("b_cell",), width=1280, **options):
    """A page with the first cell type and `types` open and drawn; `page.said` are errors of the console, `page.asked` all requests."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address)
    if options.get("java_script_enabled", True):
        for identifier in types:
            page.locator(f"#type-{identifier}").evaluate("details => { details.open = true; }")
            expect(explorer(page, identifier)).to_have_attribute("data-ready", "yes", timeout=60_000)
    return page


@pytest.fixture
def page(browser, address):
    page = opened(browser, address)
    yield page
    page.context.close()


def genes_of(inputs, identifier):
    path = inputs / f"de-{identifier}/published/cell_types/{identifier}/de.tsv"
    return read_tsv(path, dtype={"gene_id": str, "symbol": str})


def explorer(page, identifier="b_cell"):
    return page.locator(f"[data-type='{identifier}']")


def cell_map(page):
    """The map of cells, drawn: that it comes near the view is enough."""
    root = page.locator("[data-map]")
    root.scroll_into_view_if_needed()
    expect(root).to_have_attribute("data-ready", "yes", timeout=60_000)
    return root


def trace(page):
    """What is drawn of the map: x, y, text, name, marker."""
    data = page.locator("[data-part=map]").evaluate(
        "area => area.data.map((t) => ({x: t.x, y: t.y, text: t.text, name: t.name, marker: t.marker}))"
    )
    assert len(data) == 1
    return data[0]


def sample_of(inputs):
    path = inputs / "plot_embedding/published/embedding/umap_sample.tsv"
    return read_tsv(path, dtype={"cluster_0.5": str, "cluster_1.0": str})


def column(page, place, identifier="b_cell"):
    """The text of one column of the table of genes, from the left, 1 the first."""
    return explorer(page, identifier).locator(f"tbody tr > :nth-child({place})").all_inner_texts()


@pytest.mark.long
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_figure_has_drawn_nothing_overflows_and_axe_finds_nothing(browser, address, inputs, width, scheme):
    page = opened(browser, address, types=FITTED, width=width, color_scheme=scheme)
    assert sorted(root.get_attribute("data-type") for root in page.locator("[data-type]").all()) == sorted(FITTED)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    for identifier in FITTED:
        for name, fewest in (("volcano", 600), ("ma", 600), ("age", 28)):
            area = explorer(page, identifier).locator(f"[data-part={name}]")
            assert area.locator("path.point").count() >= fewest
            assert area.locator(".main-svg").first.evaluate("svg => getComputedStyle(svg).backgroundColor") == paper
            box, drawing = area.bounding_box(), area.locator(".main-svg").first.bounding_box()
            assert drawing["width"] == pytest.approx(box["width"], abs=1) and box["height"] > 250
            colours = np.array(Image.open(io.BytesIO(area.screenshot())).convert("RGB")).reshape(-1, 3)
            assert len(np.unique(colours, axis=0)) > 50
    assert cell_map(page).locator("path.point").count() == len(sample_of(inputs))
    images = page.locator("img").evaluate_all("all => all.map((image) => image.naturalWidth)")
    assert len(images) == 3 and min(images) > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page).response["violations"]
    assert [(rule["id"], [node["html"][:200] for node in rule["nodes"]]) for rule in found] == []
    assert page.said == []
    page.context.close()


def test_the_page_asks_the_network_for_nothing(page, address):
    assert {url for url in page.asked if not url.startswith(("data:", "blob:"))} == {address}
    assert page.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')") == "refused"
    assert any("Content Security Policy" in text for text in page.said)


def test_the_page_holds_every_tested_gene_with_the_numbers_of_the_table(page, inputs):
    for identifier in ("b_cell", SLUGS["CD4-positive, alpha-beta T cell"]):
        table = genes_of(inputs, identifier)
        with page.expect_download() as saved:
            explorer(page, identifier).get_by_role("button", name="Download these genes").click()
        own = read_tsv(saved.value.path(), dtype={"gene_id": str, "symbol": str})
        assert saved.value.suggested_filename == f"{identifier}_genes.tsv"
        assert sorted(own["gene_id"]) == sorted(table["gene_id"])
        both = own.merge(table, on="gene_id", suffixes=("", "_true"))
        for name in ("base_mean", "log2_fold_change", "lfc_se", "p_value", "padj"):
            np.testing.assert_allclose(both[name], both[f"{name}_true"], rtol=0.006)
        assert (both["robust"].astype(bool) == both["robust_true"].astype(bool)).all()


def test_search_finds_a_gene_names_it_in_both_figures_and_draws_its_donors(page, inputs):
    own = explorer(page)
    table = genes_of(inputs, "b_cell")
    gene = table.iloc[7]
    own.get_by_label("Find a gene").fill(gene["symbol"].lower())
    assert gene["symbol"] in column(page, 1)
    assert all(gene["symbol"].lower() in name.lower() for name in column(page, 1))
    expect(own.locator("[data-part=age] .ytitle")).to_have_text(f"{gene['symbol']}, log2 CPM")
    for name in ("volcano", "ma"):
        assert gene["symbol"] in own.locator(f"[data-part={name}] .annotation-text").all_text_contents()
    expression = read_tsv(inputs / "expression-b_cell/published/cell_types/b_cell/expression_by_age.tsv")
    drawn = own.locator("[data-part=age]").evaluate(
        "area => area.data.flatMap((t) => t.text.map((d, i) => [d, t.x[i], t.y[i]]))"
    )
    assert sorted(donor for donor, _, _ in drawn) == sorted(expression["donor_id"])
    truth = expression.set_index("donor_id")
    for donor, age, value in drawn:
        assert age == truth.loc[donor, "age_years"]
        assert value == pytest.approx(truth.loc[donor, gene["gene_id"]], rel=0.006)
    own.get_by_label("Find a gene").fill("no such gene")
    assert column(page, 1) == [] and "No gene of this name" in own.inner_text()


def test_a_gene_whose_donors_are_not_in_the_page_says_where_they_are(page, inputs):
    last = genes_of(inputs, "b_cell").iloc[-1]
    explorer(page).get_by_label("Find a gene").fill(last["gene_id"])
    words = explorer(page).locator("[data-part=age-said]")
    expect(words).to_contain_text("--report_genes")
    assert last["symbol"] in words.inner_text() and explorer(page).locator("[data-part=age]").is_hidden()


@pytest.mark.parametrize(
    ("heading", "name"), [("log2 fold change", "log2_fold_change"), ("Mean count", "base_mean"), ("Adjusted p", "padj")]
)
def test_the_table_sorts_by_every_column_and_says_so(page, inputs, heading, name):
    own, table = explorer(page), genes_of(inputs, "b_cell")
    button = own.get_by_role("columnheader", name=heading).get_by_role("button")
    seen = []
    for _ in range(2):
        button.click()
        way = own.get_by_role("columnheader", name=heading).get_attribute("aria-sort")
        seen.append(way)
        order = table.dropna(subset=[name])[name].sort_values(ascending=way == "ascending")
        shown = table.set_index("symbol")[name].reindex(column(page, 1)).to_numpy()
        np.testing.assert_allclose(shown, order.head(len(shown)), rtol=0.006)
    assert sorted(seen) == ["ascending", "descending"]


def test_pages_of_the_table_hold_each_gene_once(page, inputs):
    own, seen = explorer(page), []
    while True:
        seen += column(page, 2)
        if own.get_by_role("button", name="Next").is_disabled():
            break
        own.get_by_role("button", name="Next").click()
    assert sorted(seen) == sorted(genes_of(inputs, "b_cell")["gene_id"])


def test_everything_works_without_a_mouse(page, inputs):
    table = genes_of(inputs, "b_cell")
    explorer(page).get_by_label("Find a gene").focus()
    page.keyboard.type(table["symbol"].iloc[3])
    page.keyboard.press("Enter")
    said = explorer(page).locator("[data-part=said]")
    assert said.inner_text().startswith(f"{table['symbol'].iloc[3]}:")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    reached = []
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText.trim()"))
        if page.evaluate("document.activeElement.className") == "gene":
            break
    page.keyboard.press("Enter")
    assert any(text.startswith("Download") for text in reached) and "Adjusted p" in reached
    assert said.inner_text().startswith(f"{reached[-1]}:")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_link_to_a_closed_cell_type_opens_it(browser, address):
    page = browser.new_page()
    page.goto(address)
    identifier = SLUGS["CD14-positive monocyte"]
    assert not page.locator(f"#type-{identifier}").evaluate("details => details.open")
    page.get_by_role("link", name="CD14-positive monocyte").first.click()
    explorer(page, identifier).locator(".main-svg").first.wait_for()
    page.close()


@pytest.mark.parametrize("how", ["print", "no script"])
def test_in_print_and_without_scripts_still_figures_stand_for_the_interactive_ones(browser, address, how):
    page = opened(browser, address, java_script_enabled=how == "print")
    if how == "no script":
        page.locator("#type-b_cell summary").click()
    else:
        assert page.locator("img").evaluate_all("all => all.filter((image) => image.offsetParent).length") == 1
        page.emulate_media(media="print")
        assert page.pdf().startswith(b"%PDF")
    assert page.locator(".twin").count() == 2
    assert all(twin.is_visible() for twin in page.locator(".twin").all())
    assert not any(area.is_visible() for area in page.locator(".plot, [data-part=search], [data-map]").all())
    assert page.locator("[data-part=table] tbody tr").first.is_visible()
    page.context.close()


def test_the_map_is_drawn_when_it_comes_near_and_not_before(browser, address):
    page = browser.new_page(viewport={"width": 1280, "height": 300})
    page.goto(address)
    page.locator("[data-type][data-ready]").wait_for(timeout=60_000)  # the cell type that is open at first
    assert page.locator("[data-map]").get_attribute("data-ready") is None
    assert cell_map(page).locator(".main-svg").count() > 0
    page.close()
    # A busy page learns that the map was far off and that it is near at the same time.
    page = browser.new_page()
    page.add_init_script("""window.IntersectionObserver = class {
      constructor(told) { this.told = told; }
      observe() { this.told([{ isIntersecting: false }, { isIntersecting: true }]); }
      disconnect() {}
    }""")
    page.goto(address)
    expect(page.locator("[data-map]")).to_have_attribute("data-ready", "yes", timeout=60_000)
    page.close()


@pytest.mark.long
def test_every_colouring_is_chosen_with_the_keyboard_and_shows_the_numbers_of_the_table(page, inputs):
    table, root = sample_of(inputs), cell_map(page)
    root.get_by_label("Colour by").focus()
    choices = root.locator("option").evaluate_all("all => all.map((option) => [option.value, option.textContent])")
    genes = [f"gene_{gene}" for gene in GENES]
    order = ["cell_type", "cluster_0.5", "cluster_1.0", "donor_id", "sex", "age_years", *genes]
    assert [value for value, _ in choices] == order
    for value, label in choices:
        if value != "cell_type":
            page.keyboard.press("ArrowDown")
        said = root.locator("[data-part=said]")
        expect(said).to_contain_text(f"{label[:20]}")
        assert root.get_by_label("Colour by").input_value() == value
        drawn = trace(page)
        known = table[table[value].notna()]
        np.testing.assert_allclose(drawn["x"], known["UMAP1"], atol=0.0051)
        np.testing.assert_allclose(drawn["y"], known["UMAP2"], atol=0.0051)
        colours = drawn["marker"]["color"]
        if known[value].dtype.kind in "if":
            np.testing.assert_allclose(colours, known[value], atol=0.0051)
            assert drawn["marker"]["showscale"] and root.locator(".colorbar").count() == 1
            low, high = np.percentile(known[value], [1, 99])
            assert drawn["marker"]["cmin"] == pytest.approx(low, abs=0.01)
            assert drawn["marker"]["cmax"] == pytest.approx(high, abs=0.01)
            assert "median" in said.inner_text() and root.locator("[data-part=legend]").is_hidden()
        else:
            assert root.locator(".colorbar").count() == 0
            assert len({*zip(colours, known[value], strict=True)}) == known[value].nunique()
            assert f"{known[value].nunique()} of {known[value].nunique()} kinds" in said.inner_text()
            assert root.locator("[data-part=legend] .swatch").count() == known[value].nunique()
        if value == "cell_type":
            assert {*zip(colours, known[value], strict=True)} == {(c, name) for name, c in colours_for(KEPT).items()}
    page.keyboard.press("Home")
    expect(said).to_contain_text("Cell type: ")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert page.said == []


def test_the_legend_hides_and_shows_cells_with_the_keyboard_and_the_rest_keep_their_place(page, inputs):
    table, root = sample_of(inputs), cell_map(page)
    ranges = "area => [...area._fullLayout.xaxis.range, ...area._fullLayout.yaxis.range]"
    before = root.locator("[data-part=map]").evaluate(ranges)
    n_b = int((table["cell_type"] == "B cell").sum())
    button = root.get_by_role("button", name=f"B cell ({n_b:,})")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(root.locator("path.point")).to_have_count(len(table) - n_b)
    expect(root.locator("[data-part=said]")).to_contain_text("4 of 5 kinds")
    assert root.locator("[data-part=map]").evaluate(ranges) == before
    root.get_by_role("button", name="Show all").click()
    expect(root.locator("path.point")).to_have_count(len(table))
    root.get_by_role("button", name="Hide all").click()
    expect(root.locator("path.point")).to_have_count(0)
    button.click()
    expect(root.locator("path.point")).to_have_count(n_b)
    # Another colouring begins with all cells.
    root.get_by_label("Colour by").select_option("sex")
    expect(root.locator("path.point")).to_have_count(len(table))
    assert page.said == []


def test_zoom_stays_when_the_colours_change(page):
    root = cell_map(page)
    area = root.locator("[data-part=map]")
    ranges = "area => [...area._fullLayout.xaxis.range, ...area._fullLayout.yaxis.range]"
    whole = area.evaluate(ranges)
    area.evaluate("area => area.on('plotly_relayout', () => { area.dataset.zoomed = 'yes'; })")
    area.scroll_into_view_if_needed()
    box = area.locator(".nsewdrag").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 250, steps=5)
    page.mouse.up()
    expect(area).to_have_attribute("data-zoomed", "yes")
    zoomed = area.evaluate(ranges)
    assert zoomed[0] > whole[0] + 0.5
    root.get_by_label("Colour by").select_option("age_years")
    expect(root.locator("[data-part=said]")).to_contain_text("Age (years)")
    assert area.evaluate(ranges) == zoomed


def test_hover_over_a_cell_names_it_as_the_data_do_whatever_plotly_would_read_in_it(page, inputs):
    table, root = sample_of(inputs), cell_map(page)
    area = root.locator("[data-part=map]")
    root.get_by_label("Colour by").select_option(f"gene_{GENES[1]}")
    i = int(np.flatnonzero(table["cell_type"] == SCRIPT_NAME)[0])
    row = table.iloc[i]
    area.evaluate("(area, i) => Plotly.Fx.hover(area, [{curveNumber: 0, pointNumber: i}])", i)
    lines = area.locator(".hoverlayer tspan.line").all_text_contents()
    assert lines[0] == SCRIPT_NAME and lines[1].startswith(f"donor {row['donor_id']}: {row['age_years']:.0f} years, ")
    assert lines[2].startswith("Expression of <b>X</b> & <") and "'>Y</a>: " in lines[2]
    assert area.locator(".cbtitle, .cbtitlex, .infolayer").first.count() == 1 and area.locator("svg a").count() == 0
    # A very long name is shortened, in the list, the words and the figure.
    root.get_by_label("Colour by").select_option(f"gene_{GENES[3]}")
    expect(root.locator("[data-part=said]")).to_contain_text("…")
    assert len(trace(page)["name"]) <= 40 and page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert page.said == []


def test_names_of_genes_and_donors_are_no_markup_in_any_figure_and_many_kinds_get_no_legend(browser, inputs, tmp_path):
    hostile = "<a href='javascript:alert(1)'>X</a> &amp; <i>"
    de = genes_of(inputs, "b_cell")
    de.loc[0, "symbol"] = hostile
    write_tsv(de, tmp_path / "de/cell_types/b_cell/de.tsv")
    shutil.copy(inputs / "de-b_cell/published/cell_types/b_cell/de_summary.json", tmp_path / "de/cell_types/b_cell")
    cells = sample_of(inputs)
    cells["donor_id"] = [f"<b>{i % 50}</b>" for i in range(len(cells))]
    write_tsv(cells, tmp_path / "sample/embedding/umap_sample.tsv")
    others = [tree for tree in trees_of(inputs) if tree.parent.name not in ("de-b_cell", "plot_embedding")]
    write(inputs, tmp_path, [*others, tmp_path / "de", tmp_path / "sample"])
    page = opened(browser, (tmp_path / "report.html").as_uri())
    for name in ("volcano", "ma"):
        named = explorer(page).locator(f"[data-part={name}] .annotation-text").all_text_contents()
        assert named == [shorten(hostile)]
    expect(explorer(page).locator("[data-part=age] .ytitle")).to_have_text(f"{shorten(hostile)}, log2 CPM")
    root = cell_map(page)
    root.get_by_label("Colour by").select_option("donor_id")
    expect(root.locator("[data-part=said]")).to_contain_text("50 of 50 kinds shown; most cells: <b>0</b> (80)")
    assert root.locator("[data-part=legend]").is_hidden()
    assert page.locator(".plot svg a, .plot svg [style*=italic], .plot svg [style*=bold]").count() == 0
    assert page.said == []
    page.context.close()


def test_figures_follow_when_the_scheme_changes(page):
    area = explorer(page).locator("[data-part=volcano] .main-svg").first
    expect(area).to_have_css("background-color", "rgb(255, 255, 255)")
    cells = cell_map(page).locator(".main-svg").first
    expect(cells).to_have_css("background-color", "rgb(255, 255, 255)")
    page.emulate_media(color_scheme="dark")
    for drawn in (area, cells):
        expect(drawn).to_have_css("background-color", "rgb(20, 24, 28)")
    # The colours of kinds are chosen for white paper.
    assert cell_map(page).locator("rect.bg").first.evaluate("r => getComputedStyle(r).fill") == "rgb(255, 255, 255)"


def test_names_in_the_data_cannot_run_as_scripts(page):
    ran = page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'})) || window.ran"
    )
    assert ran is None
    assert page.get_by_text(SCRIPT_NAME).first.count() == 1 and "alert" not in page.said
