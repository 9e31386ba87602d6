"""How a stream of bytes is divided into messages: one file for each family of framings."""
