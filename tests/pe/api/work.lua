-- What the language and its library have: tables, closures, coroutines, strings, files, errors, dates.
print(_VERSION, #arg, arg[1])
local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
print("fib", fib(18))
local primes, sieve = {}, {}
for i = 2, 500 do
  if not sieve[i] then primes[#primes + 1] = i for j = i * i, 500, i do sieve[j] = true end end
end
print(#primes, table.concat(primes, ",", 1, 10))
local words = {}
for word in ("the quick brown fox jumps over the lazy dog"):gmatch("%a+") do words[word] = (words[word] or 0) + 1 end
local keys = {}
for key in pairs(words) do keys[#keys + 1] = key end
table.sort(keys, function(a, b) return words[a] > words[b] or (words[a] == words[b] and a < b) end)
for _, key in ipairs(keys) do io.write(key, "=", words[key], " ") end
print()
print(string.format("%5d|%-8s|%08.3f|%x|%q|%g", 42, "left", math.pi, 255, 'quo"te\n', 1e20))
print(("hello world"):gsub("o", "0"), ("abc"):rep(3, "-"), ("  trim "):match("^%s*(.-)%s*$"))
local co = coroutine.wrap(function(a) local b = coroutine.yield(a * 2) coroutine.yield(b + 1) return "done" end)
print(co(21), co(9), co())
print(pcall(error, { code = 7 }), select(2, pcall(error, "with a message", 0)))
print(pcall(function() local x = nil; return x.field end))
local f = assert(io.open("lua.txt", "w"))
for i = 1, 5 do f:write("line ", i, "\n") end
f:close()
local n = 0
for line in io.lines("lua.txt") do n = n + #line end
print("read", n, io.open("none.txt"))
f = io.open("lua.txt", "rb")
print(f:seek("end"), f:seek("set", 5), f:read("n"), f:read("a"):gsub("\r", "\\r"))
f:close()
print(os.remove("lua.txt"), os.remove("lua.txt"))
print(os.date("!%Y-%m-%d %H:%M:%S", 86400 * 366), os.time({ year = 2001, month = 2, day = 3, hour = 4 }) ~= nil, os.getenv("NO_SUCH_VARIABLE"))
print(math.maxinteger, math.type(1.0), 7 // 2, 7 % -3, 2 ^ 53, 1 / 0, -1 / 0, math.floor(-3.5), 10 / 3)
print(tostring(12345.678e10), 0x7fffffff + 1, "10" + 5, 3 | 8, ~0, 1 << 62)
print(utf8.char(228, 8364, 128512), utf8.len("äöü"), #"äöü")
print(string.pack("<i4d", 7, 1.5):byte(1, -1))
print(load("return 1 + 1")(), load("syntax error here"))
setmetatable(words, { __index = function(_, k) return "no " .. k end, __len = function() return 99 end, __call = function(_, x) return x * 2 end })
print(words.cat, #words, words(21))
goto finish
print("never")
::finish::
collectgarbage()
print(collectgarbage("count") > 0)
io.stderr:write("to standard error\n")
os.exit(23, true)
