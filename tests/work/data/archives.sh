# tar with gzip, xz, zstd, bzip2, pipes between them; cpio, zip, split; sparse files, links, modes
# needs: tar gzip xz zstd bzip2
# with:
# with: --lazy
# slow
mkdir -p t/a/b; seq 60000 >t/n; head -c 300000 /dev/zero >t/z; ln -s n t/s; ln t/n t/h; chmod 640 t/n; mkfifo t/f; truncate -s 5M t/sparse; find t -exec touch -hd @1000000 {} +
#== run
T="--sort=name --owner=0 --group=0 --numeric-owner --mtime=@0"
$RUN tar $T -cf a.tar t; $RUN tar -tvf a.tar; for c in z j J; do $RUN tar $T -c${c}f a.$c t; mkdir x$c; $RUN tar -xf a.$c -C x$c; diff -r --no-dereference x$c/t/n t/n; done; $RUN tar $T --zstd -cf a.zst t; $RUN tar -tf a.zst | wc -l
cat a.tar | $RUN gzip -9n | $RUN gunzip | $RUN xz -T2 -6 | $RUN unxz | $RUN zstd -q -T2 | $RUN zstd -dq | $RUN bzip2 | $RUN bunzip2 | cmp - a.tar; echo "pipe ${PIPESTATUS[*]}"
$RUN xz -lv a.J | tail -n +3 | head -5; $RUN xz -T4 --block-size=100KiB -k t/n; $RUN zstd -q -19 --long t/n -o n.zst; $RUN gzip -l a.z; echo garbage | $RUN gzip -d; echo "status $?"; echo garbage | $RUN xz -d; echo "status $?"; $RUN tar -xf nosuch; echo "status $?"
$RUN tar $T -cf - t | $RUN tar -xf - -C xz --transform 's,^t,u,'; $RUN split -b 100K -d a.tar part.; cat part.* | $RUN sha256sum; $RUN tar --listed-incremental=snap -cf inc.tar t; rm snap inc.tar
