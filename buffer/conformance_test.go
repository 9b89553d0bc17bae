package buffer_test

import (
	"testing"
	"time"

	"edgegateway/buffer"
	"edgegateway/buffer/buffertest"
)

func TestConformance(t *testing.T) {
	t.Run("on flash", func(t *testing.T) {
		buffertest.Run(t, func(t *testing.T) buffer.Options {
			return buffer.Options{Dir: t.TempDir(), Reserve: 1 << 20, Commit: time.Hour}
		})
	})
	t.Run("on flash, all of it sealed soon", func(t *testing.T) {
		buffertest.Run(t, func(t *testing.T) buffer.Options {
			return buffer.Options{Dir: t.TempDir(), Reserve: 1 << 20, Commit: time.Millisecond}
		})
	})
	t.Run("on flash, durable first", func(t *testing.T) {
		buffertest.Run(t, func(t *testing.T) buffer.Options {
			return buffer.Options{Dir: t.TempDir(), Reserve: 1 << 20, DurableFirst: true}
		})
	})
	t.Run("in memory alone", func(t *testing.T) {
		buffertest.Run(t, func(t *testing.T) buffer.Options { return buffer.Options{} })
	})
}
