package appliance_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestAppliance is one life of a gateway: installed, configured, reloaded, plugged and unplugged, hung, cut from power
// under load, started in the past, upgraded, rolled back and purged. Each step goes on from the one before.
func TestAppliance(t *testing.T) {
	if !*boot {
		t.Skip("it boots a machine in QEMU, which takes minutes: go test ./testbench/appliance -boot [-arch arm64] -v")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newSite(t, ctx)
	defer cancel() // before the site's cleanup waits for its parts
	older, newer := packages(t, ctx)
	figure := func(what string, d time.Duration) {
		t.Logf("FIGURE %s %-34s %6.1f s", *arch, what, d.Seconds())
	}
	step := func(name string, run func(t *testing.T)) {
		if t.Failed() {
			return // what comes after would only tell of the same
		}
		begin := time.Now()
		t.Run(name, run)
		figure("step "+name, time.Since(begin))
	}
	start := func(t *testing.T, clock time.Time) time.Duration {
		t.Helper()
		begin := time.Now()
		up, stop := context.WithTimeout(ctx, patience)
		defer stop()
		if err := s.machine.Boot(up, clock); err != nil {
			t.Fatal(err)
		}
		return time.Since(begin)
	}

	step("install", func(t *testing.T) {
		figure("boot to the agent", start(t, time.Time{}))
		s.send(t, older, "/root/older.deb")
		s.send(t, newer, "/root/newer.deb")
		begin := time.Now()
		s.sh(t, "dpkg -i /root/older.deb")
		figure("dpkg -i", time.Since(begin))
		if got := s.sh(t, "systemctl is-active gatewayd; systemctl is-enabled gatewayd"); got != "active\nenabled" {
			t.Errorf("after the installation it is %q", got)
		}
		s.configure(t, "")
		s.sh(t, "gatewayd check && systemctl restart gatewayd")
		figure("restart to 3 readings of each line", s.reach(t, 3, "pump", "meter"))
		st := s.status(t)
		t.Logf("FIGURE %s gatewayd's memory %d KiB, version %s", *arch, st.Process.RSSBytes>>10, st.Version)
		if !st.Balanced() {
			t.Errorf("its books do not balance: %+v", st.Platforms)
		}
	})
	step("sandbox", func(t *testing.T) {
		out := s.sh(t, "systemd-analyze security --no-pager --threshold=13 gatewayd.service | tail -n 1")
		t.Logf("FIGURE %s %s", *arch, out)
		if got := s.sh(t, "systemctl show -p StatusText --value gatewayd"); !strings.Contains(got, "2 lines, 2 devices") && !strings.Contains(got, "problem") {
			t.Errorf("its line of `systemctl status` is %q", got)
		}
		// As the unit has it, and as who runs in it finds it.
		pid := s.sh(t, "systemctl show -p MainPID --value gatewayd")
		if got := s.sh(t, "sed -n 's/^\\(CapEff\\|NoNewPrivs\\|Seccomp\\):[[:space:]]*//p' /proc/"+pid+"/status"); got != "0000000000000000\n1\n2" {
			t.Errorf("capabilities, no-new-privileges and seccomp of the daemon: %q", got)
		}
	})
	step("reload", func(t *testing.T) {
		before := s.sh(t, "systemctl show -p MainPID --value gatewayd")
		s.configure(t, "[[line]]\nname = \"second\"\nhost = \""+s.plc+"\"\n\n"+device("fan", "second", 2))
		begin := time.Now()
		s.sh(t, "systemctl reload gatewayd")
		figure("reload", time.Since(begin))
		s.reach(t, 2, "pump", "meter", "fan")
		s.configure(t, "[[line]]\nname = \"second\"\nhost = \"nowhere:99999\"\n")
		if out, err := s.machine.Run(ctx, patience, "systemctl", "reload", "gatewayd"); err == nil {
			t.Errorf("a faulty configuration is taken: %s", out)
		}
		s.sh(t, "systemctl is-active gatewayd; journalctl -u gatewayd --no-pager | grep -q 'invalid: the configuration has'")
		s.reach(t, 2, "pump", "meter", "fan") // what ran goes on
		s.configure(t, "")
		s.sh(t, "systemctl reload gatewayd")
		if after := s.sh(t, "systemctl show -p MainPID --value gatewayd"); after != before {
			t.Errorf("the daemon was process %s and is %s", before, after)
		}
		s.books(t)
		if b := s.recorder.Books(); b.Explained > 0 {
			t.Errorf("a reload lost %d numbers", b.Explained)
		}
	})
	step("usb", func(t *testing.T) {
		plugged, unplug := context.WithCancel(ctx)
		s.running.Go(func() { s.plug(plugged, "usb", field(3)) })
		begin := time.Now()
		s.until(t, "the adapter has no stable name", "ls /dev/serial/by-id/* >/dev/null 2>&1")
		port := s.sh(t, "ls /dev/serial/by-id/*")
		s.configure(t, fmt.Sprintf("[[line]]\nname = \"usb\"\nport = %q\nmode = \"9600 8N1\"\n\n", port)+device("probe", "usb", 2))
		s.sh(t, "systemctl reload gatewayd")
		s.reach(t, 2, "probe")
		figure("USB adapter plugged to 2 readings", time.Since(begin))
		unplug()
		s.until(t, "the adapter stays", "! ls /dev/serial/by-id/* >/dev/null 2>&1")
		s.until(t, "the line is not told to be down", "gatewayd status | grep -q '^! line usb is down'")
		s.reach(t, 3, "pump", "meter")
		plugged, unplug = context.WithCancel(ctx)
		defer unplug()
		s.running.Go(func() { s.plug(plugged, "usb", field(3)) })
		figure("USB adapter plugged again to 2 readings", s.reach(t, 2, "probe"))
	})
	step("page", func(t *testing.T) {
		s.sh(t, "systemctl enable gatewayd.socket && systemctl stop gatewayd && systemctl start gatewayd.socket gatewayd")
		s.sh(t, "systemctl restart gatewayd") // the socket stays open meanwhile
		get := `bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080; printf "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3'`
		if out := s.sh(t, get); !strings.Contains(out, "gatewayd_") {
			t.Errorf("the page on systemd's socket says\n%s", out)
		}
		s.reach(t, 2, "pump", "meter")
	})
	step("watchdog", func(t *testing.T) {
		before := s.sh(t, "systemctl show -p MainPID --value gatewayd")
		begin := time.Now()
		s.sh(t, "systemctl kill -s STOP gatewayd")
		s.until(t, "it is not started again", "[ \"$(systemctl show -p MainPID --value gatewayd)\" != "+before+" ] && systemctl is-active --quiet gatewayd")
		figure("hung to restarted (WatchdogSec=20s)", time.Since(begin))
		s.sh(t, "journalctl -u gatewayd --no-pager | grep -q 'Watchdog timeout'")
		s.reach(t, 3, "pump", "meter")
		s.books(t)
	})
	step("power-cut", func(t *testing.T) {
		s.platform.Down() // what is read now is on the flash alone
		s.until(t, "nothing waits", "gatewayd backlog | grep -q flash")
		s.sh(t, "systemd-run --quiet sh -c 'while :; do dd if=/dev/urandom of=/root/load bs=4k count=2000 oflag=direct conv=notrunc; done'") // never flushed
		s.sh(t, "n=0; until [ $n -ge 25 ]; do n=$((n+1)); sleep 1; done")                                                                    // load: a file system at work, and 25 s of readings
		if err := s.machine.Pull(uint64(time.Now().UnixNano())); err != nil {
			t.Fatal(err)
		}
		disk := s.machine.Disk.Stats()
		t.Logf("FIGURE %s the cut: %d blocks lost, %d kept, %d torn; before it %d writes of %d KiB in all, %d flushes",
			*arch, disk.Lost, disk.Kept, disk.Torn, disk.Writes, disk.WrittenBytes>>10, disk.Flushes)
		// The clock's battery is empty, too: it starts five months back.
		begin := time.Now()
		figure("boot after the cut to the agent", start(t, time.Now().AddDate(0, -5, 0)))
		if err := s.platform.Up(); err != nil {
			t.Fatal(err)
		}
		s.reach(t, 3, "pump", "meter")
		figure("power on to 3 readings of each line", time.Since(begin))
		if out := s.sh(t, "dpkg --audit"); out != "" {
			t.Errorf("dpkg is not well: %s", out)
		}
		s.until(t, "the backlog does not leave", `[ "$(gatewayd status --json | grep -o '"backlog": *[0-9]*' | head -n 1 | grep -o '[0-9]*$')" -lt 20 ]`)
		s.books(t)
		if st := s.status(t); !st.Balanced() {
			t.Errorf("its books do not balance: %+v", st.Platforms)
		}
	})
	step("clock", func(t *testing.T) {
		s.await(t, "records say that their time is a guess", func() bool { return s.last["pump"] == "estimated" && s.last["meter"] == "estimated" })
		if st := s.status(t); st.Clock.Synchronised {
			t.Error("it takes the clock for synchronised")
		}
		s.sh(t, "/run/guest set-clock "+time.Now().UTC().Format(time.RFC3339))
		begin := time.Now()
		s.await(t, "records carry the right time", func() bool { return s.last["pump"] == "" && s.last["meter"] == "" })
		figure("clock set to believed", time.Since(begin))
		if st := s.status(t); !st.Clock.Synchronised || st.Clock.Source != "systemd-timedated" {
			t.Errorf("the clock: %+v", st.Clock)
		}
		s.books(t)
	})
	step("upgrade", func(t *testing.T) {
		s.configure(t, "# mine\n")
		s.sh(t, "printf secret > /etc/gatewayd/credentials/platform-secret")
		epoch := s.status(t).Buffer.Epoch
		for _, version := range []string{"0.9.1", "0.9.0"} {
			begin := time.Now()
			s.sh(t, "dpkg -i /root/"+map[string]string{"0.9.0": "older", "0.9.1": "newer"}[version]+".deb")
			figure("dpkg -i of "+version, time.Since(begin))
			s.reach(t, 3, "pump", "meter")
			st := s.status(t)
			if st.Version != version || st.Buffer.Epoch != epoch {
				t.Errorf("after %s: version %s, epoch %d (was %d)", version, st.Version, st.Buffer.Epoch, epoch)
			}
			s.sh(t, "grep -q '# mine' /etc/gatewayd/gatewayd.toml && grep -q secret /etc/gatewayd/credentials/platform-secret")
		}
		s.books(t)
	})
	step("bluetooth", func(t *testing.T) {
		// The real bluetoothd, with two controllers of BlueZ's own emulator that hear each other: the gateway has the first,
		// and a thermometer that speaks BTHome (25.00 degrees) the second.
		if _, err := s.machine.Run(ctx, patience, "modprobe", "hci_vhci"); err != nil {
			t.Skip("the kernel of this architecture has no virtual Bluetooth controllers")
		}
		// Four, for on an emulated machine that is busy the kernel gives some of them up while they are set up.
		s.sh(t, "systemctl start bluetooth && systemd-run --quiet --unit=btvirt btvirt -L -l4")
		s.until(t, "BlueZ sees no two controllers", "[ $(busctl tree --list org.bluez | grep -c 'hci[0-9]*$') -ge 2 ]")
		pair := strings.Fields(s.sh(t, "busctl tree --list org.bluez | grep -o 'hci[0-9]*$' | sort | head -n 2"))
		address := strings.Trim(strings.TrimPrefix(s.sh(t, "busctl get-property org.bluez /org/bluez/"+pair[1]+" org.bluez.Adapter1 Address"), "s "), `"`)
		s.configure(t, "[[line]]\nname = \"radio\"\nradio = \""+pair[0]+"\"\nscan = \"active\"\n\n[[device]]\nname = \"thermo\"\nline = \"radio\"\nprotocol = \"ble\"\n"+
			"address = \""+address+"\"\nevery = \"1s\"\n\n[[tag]]\ndevice = \"thermo\"\nname = \"temperature\"\nat = \"temperature\"\n")
		// The emulated controllers tell of an advertisement only when advertising, or scanning, is switched on.
		words := []string{"select " + address, "power on", "menu advertise", "service fcd2 0x40 0x02 0xc4 0x09", "back"}
		s.sh(t, "systemctl reload gatewayd && systemd-run --quiet --unit=thermo sh -c '(for w in \"$@\"; do sleep 1; echo \"$w\"; done; "+
			"while sleep 3; do echo \"advertise on\"; sleep 3; echo \"advertise off\"; done) | bluetoothctl' sh '"+strings.Join(words, "' '")+"'")
		figure("BLE sensor advertises to reading", s.reach(t, 1, "thermo"))
		s.mu.Lock()
		got := string(s.values["thermo"]["temperature"])
		s.mu.Unlock()
		if got != "25" {
			t.Errorf("the thermometer says 25 degrees, and %s arrived", got)
		}
		s.books(t)
	})
	step("purge", func(t *testing.T) {
		s.sh(t, "dpkg -r gatewayd")
		s.sh(t, "[ -e /var/lib/gatewayd/buffer ] && [ -e /etc/gatewayd/gatewayd.toml ] && ! systemctl is-active gatewayd")
		s.sh(t, "dpkg -i /root/newer.deb")
		s.reach(t, 2, "pump", "meter")
		s.sh(t, "dpkg -P gatewayd")
		if left := s.sh(t, "ls -d /etc/gatewayd /var/lib/gatewayd /run/gatewayd /usr/bin/gatewayd 2>/dev/null || true"); left != "" {
			t.Errorf("a purge leaves %s", left)
		}
		if n := s.sh(t, "systemctl list-units --all --no-legend 'gatewayd*' | grep -c loaded || true"); n != "0" {
			t.Errorf("a purge leaves %s units", n)
		}
		s.books(t)
	})
	step("off", func(t *testing.T) {
		down, stop := context.WithTimeout(ctx, patience)
		defer stop()
		if err := s.machine.Off(down); err != nil {
			t.Fatal(err)
		}
	})
}
