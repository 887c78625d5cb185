"""Triangle meshes, whatever they were made from: their axes, files, quality and pictures."""
