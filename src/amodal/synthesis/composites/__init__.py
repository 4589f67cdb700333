"""Composites: whole objects cut from photographs and pasted over others, with exact truth; rendered rooms beside them."""
