# cmake: configure, build and test a small project
# needs: cmake make g++
# mask: [0-9.]+ sec\b| *\([0-9.]+s\)|[0-9.]+ \*?sec
# ignore: b/*
# timeout: 100
# slow
mkdir src; echo 'int main(int c, char **) { return c > 1; }' >src/m.cc; printf 'cmake_minimum_required(VERSION 3.10)\nproject(p CXX)\nadd_executable(m src/m.cc)\nenable_testing()\nadd_test(NAME good COMMAND m)\nadd_test(NAME bad COMMAND m x)\n' >CMakeLists.txt
#== run
$RUN cmake -S . -B b; $RUN cmake --build b; cd b; $RUN ctest; echo "status $?"; $RUN cmake -E sha256sum ../src/m.cc; $RUN cmake -E tar cf x.tar ../src/m.cc; $RUN cmake -E tar tf x.tar
