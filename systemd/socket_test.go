package systemd

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestListeners hands two sockets to a process as systemd does, which takes them, starts itself anew and takes them again.
func TestListeners(t *testing.T) {
	var addresses []string
	var files []*os.File
	for range 2 {
		held, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		file, err := held.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		addresses, files = append(addresses, held.Addr().String()), append(files, file)
	}
	// The shell gives the variable its own process id, which is then the program's.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run=TestListenersHelper`, os.Args[0])
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=page:page", "SOCKET_HELPER=first")
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for _, want := range []string{"first", "second"} {
		for _, address := range addresses {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			got, err := bufio.NewReader(conn).ReadString('\n')
			conn.Close()
			if err != nil || strings.TrimSpace(got) != want {
				t.Errorf("the %s start says %q at %s (%v)", want, got, address, err)
			}
		}
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "trouble: "); ok {
			t.Error(text)
		}
	}
}

func TestListenersHelper(t *testing.T) {
	turn := os.Getenv("SOCKET_HELPER")
	if turn == "" {
		t.Skip("it is run by TestListeners")
	}
	trouble := func(what string, err error) { fmt.Printf("trouble: %s start: %s: %v\n", turn, what, err) }
	if other, err := Listeners("other"); other != nil || err != nil {
		trouble("a socket of a name that nobody gave", err)
	}
	held, err := Listeners("page")
	if err != nil || held == nil {
		trouble("no socket", err)
		return
	}
	for _, l := range held {
		conn, err := l.Accept()
		if err != nil {
			trouble("accept", err)
			return
		}
		fmt.Fprintln(conn, turn)
		conn.Close()
		l.Close()
	}
	if out, _ := exec.Command("readlink", "/proc/self/fd/3").Output(); strings.HasPrefix(string(out), "socket:") {
		trouble("a program inherits the socket", nil)
	}
	if turn == "first" {
		os.Setenv("SOCKET_HELPER", "second")
		if err := KeepSockets(); err != nil {
			trouble("keep", err)
		}
		trouble("exec", syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	}
}

func TestListenersOfAnother(t *testing.T) {
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_FDNAMES", "page")
	for _, pid := range []string{"", "1", "x"} {
		t.Setenv("LISTEN_PID", pid)
		if l, err := Listeners("page"); l != nil || err != nil {
			t.Errorf("LISTEN_PID=%q: %v, %v; want none", pid, l, err)
		}
	}
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	t.Setenv("LISTEN_FDS", "0")
	if l, err := Listeners("page"); l != nil || err != nil {
		t.Errorf("without sockets: %v, %v; want none", l, err)
	}
}
