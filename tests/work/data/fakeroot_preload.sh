# fakeroot: its preloaded library around programs run by rtld (LD_PRELOAD with a bare name, LD_LIBRARY_PATH); stdbuf
# needs: fakeroot tar
# with:
# with: --lazy
#== run
fakeroot sh -c "touch f; chown 123:45 f; $RUN stat -c '%u %g' f; mknod n c 1 3; $RUN ls -ln f n | cut -c1-20; $RUN tar -cf - f | tar -tvf - | cut -c1-20; $RUN id -u"; fakeroot $RUN bash -c 'chown 7 f; stat -c %u f'; $RUN stdbuf -o0 sh -c 'echo unbuffered'; stdbuf -oL $RUN cut -c1-3 <<<abcdef; rm n
