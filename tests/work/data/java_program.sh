# java: javac, HelloWorld with threads, exceptions, zip, networking, JNI; jar, jshell; java -version
# needs: java javac gcc
# mask: real .*|@[0-9a-f]+
# with:
# with: --lazy
# timeout: 180
# slow
cat >Hello.java <<'END'
import java.util.*; import java.util.concurrent.*; import java.util.stream.*; import java.util.zip.*; import java.net.*; import java.io.*; import java.security.*;
public class Hello {
    static native int twice(int x);
    static int deep(int n) { return deep(n + 1) + 1; }
    public static void main(String[] a) throws Exception {
        System.out.println("hello " + Arrays.toString(a) + " " + System.getProperty("java.version"));
        ExecutorService e = Executors.newFixedThreadPool(8); List<Future<Long>> f = new ArrayList<>();
        for (int i = 0; i < 32; i++) { final int n = i; f.add(e.submit(() -> LongStream.range(0, 200000).map(x -> x * n % 7).sum())); }
        long s = 0; for (Future<Long> x : f) s += x.get(); System.out.println(s); e.shutdown();
        try { deep(0); } catch (StackOverflowError x) { System.out.println("overflow"); }
        try { Object o = null; o.hashCode(); } catch (NullPointerException x) { System.out.println("null"); }
        ByteArrayOutputStream b = new ByteArrayOutputStream(); try (GZIPOutputStream g = new GZIPOutputStream(b)) { g.write(new byte[100000]); } System.out.println(b.size());
        System.out.println(HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest("abc".getBytes())));
        ServerSocket ss = new ServerSocket(0, 1, InetAddress.getLoopbackAddress()); Thread t = new Thread(() -> { try (Socket k = ss.accept()) { k.getOutputStream().write("tcp\n".getBytes()); } catch (IOException x) {} }); t.start();
        System.out.println(new BufferedReader(new InputStreamReader(new Socket(ss.getInetAddress(), ss.getLocalPort()).getInputStream())).readLine());
        System.out.println(new String(new ProcessBuilder("echo", "from a process").start().getInputStream().readAllBytes()).trim());
        System.load(new File("libtwice.so").getAbsolutePath()); System.out.println(twice(21));
        List<byte[]> junk = new ArrayList<>(); for (int i = 0; i < 200; i++) { junk.add(new byte[1 << 18]); if (i % 20 == 0) junk.clear(); } System.gc();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook"))); System.exit(5);
    }
}
END
cat >t.c <<'END'
int Java_Hello_twice(void *env, void *cls, int x) { return 2 * x; }
END
gcc -shared -fPIC t.c -o libtwice.so
#== run
$RUN java -version; $RUN javac Hello.java; $RUN java -cp . Hello x y; echo "status $?"; $RUN jar -cfe h.jar Hello Hello.class; $RUN java -jar h.jar; echo "status $?"; $RUN java -Xint -Xshare:off -cp . Hello; $RUN java Nosuch; echo "status $?"; $RUN javap -c Hello | md5sum; rm h.jar; echo 'class X { public static void main(String[] a) { throw new RuntimeException("uncaught"); } }' >X.java; $RUN java X.java; echo "status $?"
