# go: the compiler and a cgo program: goroutines, C calls and callbacks, signals, exec, network names, panics
# needs: go gcc
# timeout: 120
# slow
# mask: 0x[0-9a-f]+|goroutine \d+|\[signal.*
mkdir m; cat >m/main.go <<'END'
package main

/*
#include <stdlib.h>
#include <string.h>
#include <errno.h>
static __thread int calls; static int twice(int x) { calls++; errno = x; return 2 * x; }
extern int goCallback(int); static int through(int x) { return goCallback(x) + 1; }
*/
import "C"
import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

//export goCallback
func goCallback(x C.int) C.int { return x * 10 }

func main() {
	s := C.CString("hello"); fmt.Println(C.strlen(s), C.twice(21), C.through(4)); C.free(unsafe.Pointer(s))
	var w sync.WaitGroup; var m sync.Mutex; sum := 0
	for i := 0; i < 200; i++ { w.Add(1); go func(i int) { defer w.Done(); v := int(C.through(C.int(i))); m.Lock(); sum += v; m.Unlock() }(i) }
	w.Wait(); fmt.Println(sum)
	u, err := user.Lookup("root"); fmt.Println(u.Uid, err); a, err := net.LookupHost("localhost"); fmt.Println(len(a) > 0, err)
	c := make(chan os.Signal, 1); signal.Notify(c, syscall.SIGUSR1); syscall.Kill(os.Getpid(), syscall.SIGUSR1); fmt.Println(<-c)
	o, err := exec.Command("echo", "from a child").Output(); fmt.Print(string(o)); _, err2 := C.twice(2); fmt.Println(err, err2)
	func() { defer func() { fmt.Println("recovered", recover()) }(); var p *int; *p = 1 }()
	t := time.NewTimer(20 * time.Millisecond); <-t.C; garbage := [][]byte{}; for i := 0; i < 2000; i++ { garbage = append(garbage, make([]byte, 10000)); if i%100 == 0 { garbage = nil } }
	if len(os.Args) > 1 { panic("on request") }; os.Exit(3)
}
END
cd m; go mod init m 2>/dev/null; CGO_ENABLED=1 go build -o ../prog .; CGO_ENABLED=1 go build -buildmode=pie -o ../pie .; cd ..
#== run
$RUN ./prog; echo "status $?"; $RUN ./pie; echo "status $?"; $RUN ./prog x 2>&1 | grep -a "on request"; echo "status ${PIPESTATUS[0]}"; $RUN go version; cd m; $RUN go vet . ; echo "status $?"
