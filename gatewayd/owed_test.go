package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"edgegateway/buffer"
	"edgegateway/gatewayd/config"
)

// platforms is a configuration with platforms of these names.
func platforms(names ...string) *config.Config {
	c := &config.Config{}
	for _, name := range names {
		c.Platforms = append(c.Platforms, config.Platform{Name: name})
	}
	return c
}

func TestATrialRetainsWhatBothConfigurationsDo(t *testing.T) {
	before, now := platforms("a", "b"), platforms("c", "b")
	before.Buffer = config.Buffer{Limit: 64 << 20, Keep: 48 * time.Hour, KeepEvents: time.Hour, KeepReplies: time.Hour}
	now.Buffer = config.Buffer{Limit: 16 << 20, Keep: time.Minute, KeepEvents: 2 * time.Hour, KeepReplies: time.Minute,
		Thin: []time.Duration{time.Minute}, Commit: time.Second, DurableFirst: true}
	b, names := retained(now, before)
	want := config.Buffer{Limit: 64 << 20, Keep: 48 * time.Hour, KeepEvents: 2 * time.Hour, KeepReplies: time.Hour,
		Commit: time.Second, DurableFirst: true}
	if !reflect.DeepEqual(b, want) || fmt.Sprint(names) != "[c b a]" {
		t.Errorf("on trial: %+v for %v, want %+v", b, names, want)
	}
	if b, names := retained(now, nil); !reflect.DeepEqual(b, now.Buffer) || fmt.Sprint(names) != "[c b]" {
		t.Errorf("with no trial: %+v for %v", b, names)
	}
}

func TestATrialOfTooManyPlatformsIsRefused(t *testing.T) {
	names := make([]string, buffer.MaxDestinations)
	for i := range names {
		names[i] = fmt.Sprint("p", i)
	}
	now := platforms(names...)
	renamed := platforms(append([]string{"another"}, names[1:]...)...)
	if err := judgeRetained(now, renamed); err == nil || !strings.Contains(err.Error(), "17 platforms") {
		t.Errorf("with one of %d renamed: %v", len(names), err)
	}
	if err := judgeRetained(now, platforms(names[1:]...)); err != nil {
		t.Errorf("with one less: %v", err)
	}
}
