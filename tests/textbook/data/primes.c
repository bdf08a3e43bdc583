extern int written;
extern void put(const char *), put_number(unsigned), quit(int);

static char crossed[50];

static int each(void (*visit)(unsigned))
{
    unsigned count = 0, n, multiple;
    for (n = 2; n < sizeof crossed; n++) {
        if (crossed[n])
            continue;
        visit(n);
        count++;
        for (multiple = n * n; multiple < sizeof crossed; multiple += n)
            crossed[multiple] = 1;
    }
    return count;
}

static void show(unsigned n)
{
    put_number(n);
    put(" ");
}

void _start(void)
{
    int count = each(show);
    put("\n");
    put_number(written);
    put(" characters\n");
    quit(count);
}
