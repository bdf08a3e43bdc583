# perl: XS modules (POSIX, Socket, Digest, Storable, Encode, DB_File, threads ...), fork, regexes, sort
# needs: perl
# with:
# with: --lazy
# with: --now
# with: --interp
# slow
#== run
cat >t.pl <<'END'
use strict; use POSIX qw(floor strftime :sys_wait_h); use Socket; use Digest::SHA qw(sha256_hex); use Digest::MD5 qw(md5_hex);
use Storable qw(freeze thaw); use List::Util qw(sum reduce shuffle); use Encode; use Time::HiRes qw(usleep); use Data::Dumper; use Fcntl; use IO::Socket::INET; use MIME::Base64; use Compress::Zlib; use File::Spec; use Cwd; use B;
$| = 1; print floor(3.7), " ", strftime("%Y-%m-%d", gmtime(86400*365)), " ", inet_ntoa(inet_aton("127.0.0.1")), "\n";
print sha256_hex("abc"), " ", md5_hex("abc"), " ", encode_base64("hello"); print sum(map { $_ ** 2 } 1..100), "\n";
my $d = thaw(freeze({a => [1,2,{b=>3}]})); $Data::Dumper::Sortkeys = 1; $Data::Dumper::Indent = 1; print Dumper($d);
print length(Encode::decode("UTF-8", "h\xc3\xa9")), " ", encode("iso-8859-1", "\x{e9}") eq "\xe9" ? "latin" : "", encode("utf-16be", "\x{20ac}") eq "\x20\xac" ? " euro" : "", " ", length(decode("shiftjis", "\x82\xa0")), "\n";
my $c = Compress::Zlib::memGzip("x" x 10000); print length($c) < 100 ? "small\n" : "big\n", Compress::Zlib::memGunzip($c) eq "x" x 10000 ? "same\n" : "";
my $pid = fork(); if (!$pid) { exit 5 } waitpid($pid, 0); print $? >> 8, "\n";
local $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select(undef, undef, undef, 3); print `echo backtick`;
my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die; my $port = $s->sockport;
if (!fork()) { my $c = IO::Socket::INET->new("127.0.0.1:$port"); print $c "over tcp\n"; close $c; POSIX::_exit(0) } my $k = $s->accept; print scalar <$k>; wait;
my %h; $h{$_ % 97} += $_ for 1..20000; print join(",", map { "$_=$h{$_}" } (sort { $h{$b} <=> $h{$a} } keys %h)[0..3]), "\n";
my $t = "the quick brown fox" x 50; my $n = () = $t =~ /(?<=q)u(?:ic)k\b|\b(\w)\w+\1/g; print "$n\n"; (my $u = "Ünïcödé") =~ tr/a-z/A-Z/; print "$u\n";
eval { require DB_File; my %db; tie %db, "DB_File", "f.db" or die; $db{$_} = $_ * 2 for 1..50; print "DB $db{21}\n"; untie %db; unlink "f.db"; 1 } or print "no DB_File\n";
eval { require threads; my @t = map { my $n = $_; threads->create(sub { $n * $n }) } 1..4; print join(" ", map { $_->join } @t), "\n"; 1 } or print "no threads $@\n";
for my $m (qw(attributes mro re Hash::Util Opcode SDBM_File Sys::Hostname Sys::Syslog Text::ParseWords Time::Piece Unicode::Normalize Unicode::Collate PerlIO::scalar PerlIO::encoding I18N::Langinfo IPC::SysV Math::BigInt::FastCalc File::Glob File::DosGlob Devel::Peek Filter::Util::Call GDBM_File NDBM_File ODBM_File Compress::Raw::Bzip2 IO::Compress::Bzip2 List::Util Params::Check XML::Parser DBI)) { print "$m ", (eval "require $m; 1" ? "ok" : "no"), "\n" }
print POSIX::fmod(7, 3), " ", POSIX::strtol("ff", 16), " ", (getpwuid(0))[0], " ", join(":", glob("*.pl")), "\n"; printf "%.10g %s %vd\n", exp(1), 2**70, $^V; warn "warned\n"; END { print "end block\n" } die "died\n";
END
$RUN perl t.pl; echo "status $?"
printf 'b\na\nc\n' | $RUN perl -ne 'push @l, $_; END { print sort @l }'
$RUN perl -pe 's/(\d+)/$1*2/ge' <<<'1 2 3'; $RUN perl -c t.pl; $RUN perl -e 'exec "echo", "x"'; $RUN perl -e 'kill 15, $$'; echo "status $?"
