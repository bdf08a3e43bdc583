# ffmpeg and ffprobe: generated sound and video, filtered, encoded with several codecs and threads, decoded again
# needs: ffmpeg ffprobe
# with:
# with: --lazy
# timeout: 120
# slow
#== run
F="$RUN ffmpeg -nostdin -hide_banner -loglevel error -y"; B="-fflags +bitexact -flags:v +bitexact -flags:a +bitexact -threads 2"
$F -f lavfi -i sine=frequency=440:duration=2 $B a.wav; $F -i a.wav $B a.flac; $F -i a.wav -b:a 64k $B a.mp3; $F -i a.flac -f md5 -; $F -i a.mp3 -af volume=0.5,aresample=8000 $B b.wav
$F -f lavfi -i testsrc=size=160x120:rate=10:duration=2 $B -c:v mpeg4 v.avi; $F -i v.avi -vf 'scale=80:60,hflip' -c:v ffv1 $B v.mkv; $F -i v.mkv -f framemd5 - | tail -2; $F -i v.avi -frames:v 1 f.png; $F -f lavfi -i testsrc=duration=1:size=160x120:rate=5 -c:v libx264 -preset ultrafast $B h.mp4; $F -i h.mp4 -f framemd5 - | tail -1
$RUN ffprobe -v error -show_streams -of json h.mp4 | grep -c codec; $RUN ffmpeg -hide_banner -codecs 2>/dev/null | md5sum; $F -i nosuch.wav x.wav; echo "status $?"
