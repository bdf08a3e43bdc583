int chosen(void) { return 2; }
int deep(void) { return chosen(); }
