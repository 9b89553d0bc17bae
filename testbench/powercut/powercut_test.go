//go:build linux && (amd64 || arm64)

package powercut

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/buffer"
)

var (
	rounds = flag.Int("rounds", 8, "how often the power is cut")
	seed   = flag.Uint64("seed", 0, "of the moments and modes of the cuts; 0 draws one")
)

const insideEnv = "POWERCUT_INSIDE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(probeDir); dir != "" {
		if err := buffer.Try(dir); err != nil {
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv(workerDir); dir != "" {
		if err := runWorker(dir); err != nil {
			fmt.Println("!", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// inside runs the test that calls it in a mount namespace of its own. It says true there.
func inside(t *testing.T) bool {
	if os.Getenv(insideEnv) != "" {
		return true
	}
	if testing.Short() {
		t.Skip("power cuts take some seconds each")
	}
	if m := Missing(); m != "" {
		t.Skip("the machine needs " + m)
	}
	cmd := Inside(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprint("-rounds=", *rounds), fmt.Sprint("-seed=", *seed))
	cmd.Env = append(os.Environ(), insideEnv+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

const diskSize = 48 << 20

// TestStoreSurvivesPowerCuts cuts the power again and again, each time on the disk that the last cut left: while the
// store is opened, fills, seals, drains, frees buckets and evicts.
func TestStoreSurvivesPowerCuts(t *testing.T) {
	if !inside(t) {
		return
	}
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", s)
	r := rand.New(rand.NewPCG(s, 0))
	image, err := Format(t.TempDir(), diskSize)
	if err != nil {
		t.Fatal(err)
	}
	j := newJudge()
	byMode, opening, flushes, written := map[Mode]int{}, 0, uint64(0), uint64(0)
	for life := 1; life <= *rounds; life++ {
		mode := Modes[r.IntN(len(Modes))]
		l := live(t, image, life, "on", mode, r, j)
		image = l.image
		byMode[mode]++
		flushes, written = flushes+l.disk.Flushes, written+l.disk.Written
		if !j.ready {
			opening++
		}
		if len(j.complaints) > 0 {
			t.Fatalf("after %d cuts, the last one %q:\n%s", life, mode, strings.Join(j.complaints, "\n"))
		}
	}
	// The last life is looked at in peace.
	live(t, image, *rounds+1, "on", "", r, j)
	if len(j.complaints) > 0 || !j.ready {
		t.Fatalf("after all cuts (ready %t):\n%s", j.ready, strings.Join(j.complaints, "\n"))
	}
	if len(j.onFlash) == 0 || len(j.sides[slow].seen) == 0 {
		t.Fatal("nothing was on flash: this proves nothing")
	}
	t.Logf("%d cuts (%v), %d of them while opening; %d records known to be on flash, %d numbers seen, %d acknowledged, spans explained by %v; "+
		"%d flushes, %d MB written; undeclared losses: 0", *rounds, byMode, opening, len(j.onFlash), len(j.named),
		len(j.sides[fast].acked)+len(j.sides[slow].acked), j.causes, flushes, written/1e6)
}

// TestWithoutSyncingIsFoundOut is the control: a store whose syncs do nothing must be caught.
func TestWithoutSyncingIsFoundOut(t *testing.T) {
	if !inside(t) {
		return
	}
	r := rand.New(rand.NewPCG(1, 1))
	image, err := Format(t.TempDir(), diskSize)
	if err != nil {
		t.Fatal(err)
	}
	j := newJudge()
	for life := 1; life <= 4 && len(j.complaints) == 0; life++ {
		image = live(t, image, life, "off", None, r, j).image
	}
	if len(j.complaints) == 0 {
		t.Fatal("the power was cut under a store that does not sync, and nobody noticed")
	}
	t.Log(j.complaints[0])
}

// lived is what is left of a life.
type lived struct {
	image []byte
	disk  *Disk
}

// live runs one worker until the power is cut; without a mode until it has said what is there.
func live(t *testing.T, image []byte, life int, syncing string, mode Mode, r *rand.Rand, j *judge) lived {
	t.Helper()
	m, err := PowerOn(t.TempDir(), image)
	if err != nil {
		t.Fatalf("life %d: %v", life, err)
	}
	j.begin(uint64(life))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerDir+"="+m.Folder, fmt.Sprint(workerLife, "=", life), workerSync+"="+syncing)
	if life%4 > 0 {
		cmd.Env = append(cmd.Env, workerRun+"="+filepath.Join(m.Memory, "buffer")) // as under systemd
	}
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	ready := make(chan struct{})
	var said sync.WaitGroup
	said.Go(func() {
		once := sync.OnceFunc(func() { close(ready) })
		defer once()
		for in := bufio.NewReader(pipe); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return // what has no end was not said
			}
			lines = append(lines, line[:len(line)-1])
			if line == "ready\n" {
				once()
			}
		}
	})
	early := life > 1 && r.IntN(6) == 0 && mode != ""
	if !early {
		select {
		case <-ready:
		case <-time.After(time.Minute):
			t.Errorf("life %d: the store is not open after a minute", life)
		}
	}
	if mode != "" {
		wait := time.Duration(20+r.IntN(1200)) * time.Millisecond
		if early {
			wait = time.Duration(r.IntN(150)) * time.Millisecond
		}
		time.Sleep(wait) // chance is the point: the cut may fall anywhere
		image = m.Disk.Cut(mode, r)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatalf("life %d: %v", life, err)
	}
	m.Disk.Release()
	said.Wait()
	_ = cmd.Wait() // killed
	if err := m.Off(); err != nil {
		t.Fatalf("life %d: %v", life, err)
	}
	for _, line := range lines {
		j.take(line)
	}
	return lived{image, m.Disk}
}
