"""The wire `aether.v1`: messages, names, codes and codecs. Knows no socket, no storage, no rights."""
