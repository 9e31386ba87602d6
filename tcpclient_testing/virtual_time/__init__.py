"""An event loop whose clock jumps to the next timer when nothing else can happen."""
