package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// serve answers the test outside, for ever.
//
//	POST /run   {"args":[…],"seconds":60} → {"code":0,"out":"…"}
//	PUT  /file?path=…&mode=0640            the body becomes the file
//	GET  /file?path=…
func serve() error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /run", runCommand)
	mux.HandleFunc("PUT /file", putFile)
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, r.FormValue("path")) })
	return http.ListenAndServe("0.0.0.0:7070", mux)
}

func runCommand(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Args    []string `json:"args"`
		Seconds int      `json:"seconds"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || len(ask.Args) == 0 {
		http.Error(w, "no command", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Duration(ask.Seconds)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, ask.Args[0], ask.Args[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", "TERM=dumb", "SYSTEMD_PAGER="}
	// A command of its own session group can be ended with all that it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	answer := struct {
		Code int    `json:"code"`
		Out  string `json:"out"`
	}{Out: strings.ToValidUTF8(out.String(), "?")}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && ctx.Err() == nil:
		answer.Code = exit.ExitCode()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		answer.Code = -1
		answer.Out += "\n" + err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func putFile(w http.ResponseWriter, r *http.Request) {
	mode, err := strconv.ParseUint(r.URL.Query().Get("mode"), 8, 32)
	path := r.URL.Query().Get("path")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, os.FileMode(mode))
	}
	if err == nil {
		_, err = io.Copy(f, r.Body)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// setClock does what a time service does at its first answer: it sets the clock, and tells the kernel that it can be
// believed.
func setClock(text string) error {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return err
	}
	tv := unix.NsecToTimeval(at.UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return err
	}
	t.Modes = unix.ADJ_STATUS | unix.ADJ_MAXERROR | unix.ADJ_ESTERROR
	t.Status = t.Status&^unix.STA_UNSYNC | unix.STA_PLL
	t.Maxerror, t.Esterror = 1000, 1000
	_, err = unix.Adjtimex(&t)
	return err
}
