"""How a model learns: one class a method, each through TRL's own trainer, behind one seam (`methods.base.Method`)."""
