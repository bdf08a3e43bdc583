# tclsh: strings, files, regexps, clock, encodings, exec, event loop
# needs: tclsh
cat >t.tcl <<'END'
puts [info patchlevel]; puts [expr {2**100}]; puts [lsort -integer {5 3 9}]; puts [regexp -inline {(\w+)@(\w+)} a@b]
puts [clock format 0 -gmt 1 -format %Y-%m-%d]; puts [exec echo hello | tr a-z A-Z]; puts [string length [encoding convertto utf-8 \u20ac]]
proc fib n { expr {$n < 2 ? $n : [fib [expr {$n-1}]] + [fib [expr {$n-2}]]} }; puts [fib 18]; after 50 {set done 1}; vwait done
set s [socket -server {apply {{c a p} {puts $c tcp; close $c; set ::k 1}}} -myaddr 127.0.0.1 0]; set c [socket 127.0.0.1 [lindex [fconfigure $s -sockname] 2]]; vwait k; puts [gets $c]
puts [catch {open nosuch} e]; puts $e; puts [dict get {a 1 b 2} b]; puts [zlib crc32 abc]; catch {load ./nosuch.so} e; puts $e; coroutine co apply {{} {yield; puts co}}; co; exit 4
END
#== run
$RUN tclsh t.tcl; echo "status $?"
