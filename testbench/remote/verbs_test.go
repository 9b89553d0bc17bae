package remote

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/sim/modbus"
)

// order sends a command and gives its answer.
func (s *site) order(id, verb string, args any) reply {
	s.t.Helper()
	s.send(s.sign("control-room", newOrder(id, verb, args)), false)
	return s.answer(id, 1)
}

func TestDevicesComeAndGoFromAfar(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	s.start()
	s.settled()
	s.plant.Converter.Unit(14).Set(modbus.Inputs, 0, 215)
	var found struct {
		New, Known []struct{ Address, Known string }
	}
	if r := s.order("discover", "discover", map[string]any{"lines": []string{"converter"}, "from": "11", "to": "14"}); r.Code != "ok" || json.Unmarshal(r.Result, &found) != nil {
		t.Errorf("discover: %+v: %s", r, r.Result)
	}
	if len(found.New) != 1 || found.New[0].Address != "14" || len(found.Known) != 3 {
		t.Errorf("discovered: %+v", found)
	}
	device := func(name, address string) map[string]any {
		return map[string]any{
			"device": map[string]any{"name": name, "line": "converter", "protocol": "modbus", "address": address, "every": "500ms"},
			"tags":   []any{map[string]any{"name": "t1", "at": "input 0", "type": "int16", "scale": 0.1, "unit": "°C", "limits": map[string]any{"min": -40, "max": 80}}},
			"within": "60s",
		}
	}
	var c change
	r := s.order("add", "device-add", device("temp-4", "14"))
	if err := json.Unmarshal(r.Result, &c); err != nil || r.Code != "ok" || !c.Kept || fmt.Sprint(c.Begun) != "[line converter]" {
		t.Fatalf("device-add: %+v, %s", r, r.Result)
	}
	s.await("the new one is good", func(st *health.Status) bool { return state(st, "temp-4") == "good" })
	if r := s.order("add-again", "device-add", device("temp-4", "14")); r.Code != "invalid" || !strings.Contains(r.Text, "already") {
		t.Errorf("added twice: %+v", r)
	}
	if r := s.order("faulty", "device-add", device("temp-5", "999")); r.Code != "invalid" || !strings.Contains(r.Text, "999") {
		t.Errorf("with a wrong address: %+v", r)
	}
	short := device("temp-6", "66")
	short["within"] = "1s"
	if r := s.order("silent", "device-add", short); r.Code != "failed" || !strings.Contains(r.Text, "temp-6") {
		t.Errorf("one that is not there: %+v", r)
	}
	short = device("temp-4", "66")
	short["within"] = "1s"
	if r := s.order("worse", "device-update", short); r.Code != "failed" || !strings.Contains(r.Text, "temp-4") {
		t.Errorf("changed for the worse: %+v", r)
	}
	s.await("it is good again", func(st *health.Status) bool { return state(st, "temp-4") == "good" })
	moved := device("temp-1", "12")
	if r := s.order("update", "device-update", moved); r.Code != "ok" {
		t.Errorf("device-update: %+v", r)
	}
	if r := s.order("remove", "device-remove", map[string]any{"device": "temp-4", "within": "60s"}); r.Code != "ok" {
		t.Errorf("device-remove: %+v", r)
	}
	if r := s.order("remove-2", "device-remove", map[string]any{"device": "temp-2", "within": "60s"}); r.Code != "ok" {
		t.Errorf("device-remove of one in the main file: %+v", r)
	}
	st, err := s.daemon.Status(context.Background())
	if err != nil || state(&st, "temp-4") != "" || state(&st, "temp-2") != "" || state(&st, "temp-1") == "" || len(st.Devices) != 5 {
		t.Errorf("devices at the end: %+v, %v", st.Devices, err)
	}
	if r := s.order("gone", "device-remove", map[string]any{"device": "temp-4"}); r.Code != "invalid" {
		t.Errorf("removed twice: %+v", r)
	}
}

func TestADrillProvesTheBooks(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	s.start()
	s.settled()
	r := s.order("drill", "drill", map[string]any{"kind": "outage", "duration": "3s"})
	var report struct {
		Passed    bool
		Platforms []struct {
			Taken, Peak, Lost uint64
			Balanced          bool
			Back              float64 `json:"back_s"`
			Drained           float64 `json:"drained_s"`
		}
	}
	if err := json.Unmarshal(r.Result, &report); err != nil {
		t.Fatal(err)
	}
	if r.Code != "ok" || !report.Passed || len(report.Platforms) != 1 {
		t.Fatalf("%+v: %s", r, r.Result)
	}
	if p := report.Platforms[0]; p.Taken < 10 || p.Peak < 10 || p.Lost != 0 || !p.Balanced || p.Drained <= 0 || p.Back <= 0 {
		t.Errorf("%+v", p)
	}
	t.Logf("%s", r.Result)
	// One that is cancelled restores the link at once.
	s.send(s.sign("control-room", newOrder("long", "drill", map[string]any{"kind": "outage", "duration": "10m"})), false)
	s.await("it is cut", func(st *health.Status) bool { return st.Platforms[0].Cut })
	if err := s.daemon.CLI(context.Background(), io.Discard, "command", "try", "cancel", `{"id":"long"}`); err != nil {
		t.Errorf("cancel: %v", err)
	}
	if r := s.answer("long", 1); r.Code != "failed" || !strings.Contains(r.Text, "cancelled by local") {
		t.Errorf("cancelled: %+v", r)
	}
	for id, args := range map[string]map[string]any{
		"d1": {"kind": "fire", "duration": "1s"}, "d2": {"kind": "outage", "duration": "1 day"}, "d3": {"kind": "outage", "duration": "1s", "platform": "none"},
	} {
		if r := s.order(id, "drill", args); r.Code != "invalid" {
			t.Errorf("%s: %+v", id, r)
		}
	}
}

func TestWhatIsToldFromAfar(t *testing.T) {
	t.Parallel()
	s := newSite(t, "trusted")
	s.start()
	s.settled()
	if r := s.order("trace", "trace", map[string]any{"line": "plc", "seconds": 30, "frames": 4}); r.Code != "ok" || strings.Count(string(r.Result), `"hex"`) != 4 || !strings.Contains(string(r.Result), "unit 255") {
		t.Errorf("trace: %+v: %s", r, r.Result)
	}
	if r := s.order("trace-none", "trace", map[string]any{"line": "none"}); r.Code != "invalid" {
		t.Errorf("trace of no line: %+v", r)
	}
	if r := s.order("profiles", "profile", nil); r.Code != "ok" || !strings.Contains(string(r.Result), "eastron-sdm630") {
		t.Errorf("profile: %+v", r)
	}
	if r := s.order("profile", "profile", map[string]any{"name": "eastron-sdm630"}); r.Code != "ok" || !strings.Contains(string(r.Result), `"voltage_l1"`) {
		t.Errorf("profile show: %+v", r)
	}
	if r := s.order("report", "report", nil); r.Code != "ok" || !strings.Contains(string(r.Result), `"accepted":true`) {
		t.Errorf("report: %+v: %s", r, r.Result)
	}
	bundle := filepath.Join(t.TempDir(), "support.tar.gz")
	if err := os.WriteFile(filepath.Join(s.daemon.Dir, "credentials", "platform-secret"), []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := s.daemon.CLI(context.Background(), &out, "report", "--support", bundle); err != nil {
		t.Fatalf("report --support: %v: %s", err, out.String())
	}
	f, err := os.Open(bundle)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(unpacked); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil || bytes.Contains(text, []byte("s3cret")) {
			t.Errorf("%s: %v, or it holds the secret", h.Name, err)
		}
		names = append(names, filepath.Base(h.Name))
	}
	for _, name := range []string{"report.json", "gatewayd.toml", "audit.log", "ledger.json"} {
		if !strings.Contains(strings.Join(names, " "), name) {
			t.Errorf("the bundle lacks %s: %q", name, names)
		}
	}
}
