"""Interactive views of the fusion: one anywidget a file, with or without a kernel."""
