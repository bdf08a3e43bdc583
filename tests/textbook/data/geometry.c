#include <stdio.h>

int square(int side);
int area(int side) { return 100 * side; }

int main(void)
{
    printf("%d\n", square(3));
    return 0;
}
