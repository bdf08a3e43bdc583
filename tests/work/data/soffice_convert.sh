# soffice --headless: a document to PDF and text, a table to CSV
# needs: soffice
# timeout: 300
# mask: -> .* using
# ignore: *.pdf
# slow
printf 'Hello from a document.\n\nSecond paragraph: \303\251\303\274\303\237.\n' >doc.txt; printf 'a,b\n1,2\n3,=A2+4\n' >t.csv
printf '<html><body><h1>Title</h1><p>Some <b>bold</b> text</p><table><tr><td>1</td><td>2</td></tr></table></body></html>' >h.html
#== run
export HOME=$PWD/../home; S=/usr/lib/libreoffice/program/soffice.bin; [ -x $S ] || S=soffice
$RUN $S --headless -env:UserInstallation=file://$HOME/lo --convert-to pdf doc.txt; echo "status $?"; head -c 5 doc.pdf; echo; [ $(stat -c %s doc.pdf) -gt 3000 ] && echo large enough
$RUN $S --headless -env:UserInstallation=file://$HOME/lo --convert-to txt:Text h.html; cat h.txt; $RUN $S --headless -env:UserInstallation=file://$HOME/lo --convert-to xlsx t.csv >/dev/null; $RUN $S --headless -env:UserInstallation=file://$HOME/lo --convert-to csv --outdir out t.xlsx; cat out/t.csv; rm -f t.xlsx
