"""Results as data, and the views of them: HTML, JUnit, Markdown, terminal."""
