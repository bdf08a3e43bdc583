"""What knows no file format and no CPU: formulas, the relocation engine, images, modules, spaces."""
