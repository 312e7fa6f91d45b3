// Text in commands.

// Text as one word of the shell, whatever is in it.
def quote(text) {
    return "'" + text.toString().replace("'", "'\\''") + "'"
}
