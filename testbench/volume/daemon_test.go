package volume_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgegateway/gatewayd/health"
	"edgegateway/testbench/broker"
	"edgegateway/testbench/consumer"
	"edgegateway/testbench/rig"
	"edgegateway/testbench/volume"
)

// TestTheDaemonLivesOnAFullDisk fills the disk under the real daemon to the last byte. It says so, goes on polling and
// delivering, and heals when there is room again, without a restart and without a number missing.
func TestTheDaemonLivesOnAFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the daemon")
	}
	if !volume.Own(t) {
		return
	}
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	v := volume.Ext4(t, 96<<20)
	binary, err := rig.Build(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	farm, err := rig.NewFarm(1)
	if err != nil {
		t.Fatal(err)
	}
	defer farm.Close()
	b, err := broker.New(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wait.Go(func() { _ = b.Run(ctx) })
	recorder := consumer.New(consumer.Options{FromStart: true})
	wait.Go(func() { _ = rig.Consume(ctx, b.Address(), "full-disk", "gw/farm-gw", recorder) })
	d, err := rig.NewDaemon(binary, filepath.Join(v.Dir, "box"), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := farm.Configure(d, b.Address(), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	defer d.Kill()
	await := func(what string, ok func(*health.Status) bool) {
		t.Helper()
		if _, err := d.Await(ctx, time.Minute, what, ok); err != nil {
			t.Fatalf("%v\n%s", err, d.Log())
		}
	}
	came := func(more int) func(*health.Status) bool {
		from := recorder.Books().Unique
		return func(*health.Status) bool { return recorder.Books().Unique >= from+more }
	}
	await("records arrive", came(5))
	if err := v.Fill(1<<20, 0); err != nil {
		t.Fatal(err)
	}
	await("it says that the disk is full", func(s *health.Status) bool {
		return !s.Buffer.Durable && strings.Contains(strings.Join(s.Problems, "\n"), "disk is full")
	})
	await("records arrive with the disk full", came(10))
	if err := v.Empty(); err != nil {
		t.Fatal(err)
	}
	await("it heals", func(s *health.Status) bool { return s.Buffer.Durable && s.Balanced() })
	await("records arrive again", came(5))
	if _, err := d.Stop(); err != nil {
		t.Errorf("%v\n%s", err, d.Log())
	}
	if books := recorder.Books(); books.Unexplained > 0 {
		t.Errorf("%d numbers are missing without a word", books.Unexplained)
	}
}
