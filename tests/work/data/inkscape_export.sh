# inkscape: --query-all, export of a drawing to PNG, PDF and plain SVG, actions
# needs: inkscape
# with:
# with: --lazy
# timeout: 120
# mask: 0x[0-9a-f]+|\(inkscape:[0-9]+\)|org\.inkscape[^ ]*:[0-9]+|[0-9:.]{8,}\d
# ignore: *.pdf
# slow
cat >d.svg <<'END'
<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100"><defs><linearGradient id="g"><stop offset="0" stop-color="red"/><stop offset="1" stop-color="blue"/></linearGradient></defs>
<rect id="r" x="10" y="10" width="80" height="50" fill="url(#g)"/><circle id="c" cx="140" cy="50" r="30" fill="green" opacity=".5"/><path id="p" d="M 10 80 C 40 10, 65 10, 95 80 S 150 150, 180 80" stroke="black" fill="none"/><text id="t" x="20" y="90" font-size="12">Text</text></svg>
END
#== run
$RUN inkscape --query-all d.svg; $RUN inkscape --export-type=png --export-dpi=150 -o d.png d.svg; $RUN inkscape --export-plain-svg -o p.svg d.svg; $RUN inkscape -o d.pdf d.svg; [ -s d.pdf ] && echo pdf; $RUN inkscape --actions='select-by-id:r;object-to-path;export-filename:a.svg;export-do' d.svg; echo "status $?"
