int area(int side);

int square(int side) { return area(side) + area(side); }
int area(int side) { return side * side; }
