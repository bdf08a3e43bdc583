void xsazq(void) { }
