package profile_test

import (
	"context"
	"testing"
	"time"

	"edgegateway/adapters"
	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
)

// replay is a line on which a profile's captured answer comes back.
type replay struct{ exchange profile.Exchange }

func (r replay) Exchange(_ context.Context, request []byte, _ time.Duration, complete link.Framer) ([]byte, error) {
	got, err := r.exchange(request)
	if err != nil {
		return nil, link.ErrTimeout
	}
	answer, _, _, err := complete(got)
	if err == nil && answer == nil {
		err = &link.GarbageError{Got: got, N: len(got)}
	}
	return answer, err
}

func (replay) Timing() link.Timing { return link.Timing{} }
func (replay) Close() error        { return nil }

// TestLibraryWithTheRealDriver: what the daemon makes of the captured frames is what the profiles say, and every tag
// can be bound, also the ones that no frame proves.
func TestLibraryWithTheRealDriver(t *testing.T) {
	var report strict.Report
	for _, p := range profile.Library(nil, &report) {
		t.Run(p.Name, func(t *testing.T) {
			driver, err := adapters.Open(p.Protocol, nil, "rtu")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := driver.Bind(field.Device{Name: p.Name, Address: "1", Profile: p.Name, Quirks: p.Quirks, Tags: p.Tags}); err != nil {
				t.Error(err)
			}
			for _, problem := range p.Test(t.Context(), func(protocol string, exchange profile.Exchange) (field.Driver, error) {
				return adapters.Open(protocol, replay{exchange}, "rtu")
			}) {
				t.Error(problem)
			}
		})
	}
}
