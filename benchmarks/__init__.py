"""How fast the broker is, beside what a Django project would do without it, in one run on real servers."""
