"""Rules about which parameters there are, whether they are distinct, and what becomes of their copies."""
