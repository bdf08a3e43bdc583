# soffice --headless: a document to PDF and text, a table to CSV
# needs: soffice
# with:
# with: --lazy
# with: --interp
# timeout: 300
# mask: -> .* using
# ignore: *.pdf
# slow
printf 'Hello from a document.\n\nSecond paragraph: \303\251\303\274\303\237.\n' >doc.txt; printf 'a,b\n1,2\n3,=A2+4\n' >t.csv
printf '<html><body><h1>Title</h1><p>Some <b>bold</b> text</p><table><tr><td>1</td><td>2</td></tr></table></body></html>' >h.html
#== run
export HOME=$PWD/../home; S=/usr/lib/libreoffice/program/soffice.bin; [ -x $S ] || S=soffice
O="$RUN $S --headless -env:UserInstallation=file://$HOME/lo"
$O --convert-to pdf doc.txt; echo "status $?  (81: a new profile; start again)"; $O --convert-to pdf doc.txt; echo "status $?"; head -c 5 doc.pdf; echo; [ $(stat -c %s doc.pdf) -gt 3000 ] && echo large enough
$O --convert-to txt:Text h.html; cat h.txt; $O --convert-to xlsx t.csv >/dev/null; echo "status $?"; $O --convert-to csv --outdir out t.xlsx; echo "status $?"; cat out/t.csv; rm -f t.xlsx
