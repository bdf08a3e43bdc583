void plugh(void) { }
