package profile_test

import (
	"testing"

	"edgegateway/adapters"
	"edgegateway/adapters/field"
	"edgegateway/adapters/link"
	"edgegateway/adapters/profile"
	"edgegateway/adapters/profile/strict"
)

// TestLibraryWithTheRealDriver: what the daemon makes of the captured frames is what the profiles say, and every tag
// can be bound, also the ones that no frame proves.
func TestLibraryWithTheRealDriver(t *testing.T) {
	var report strict.Report
	for _, p := range profile.Library(keys(), &report) {
		t.Run(p.Name, func(t *testing.T) {
			driver, err := adapters.Open(p.Protocol, nil, "rtu")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := driver.Bind(field.Device{Name: p.Name, Address: p.Tests[0].Address, Profile: p.Name, Quirks: p.Quirks, Tags: p.Tags}); err != nil {
				t.Error(err)
			}
			for _, problem := range p.Test(t.Context(), func(protocol string, exchange profile.Exchange) (field.Driver, error) {
				return adapters.Open(protocol, link.Replay(exchange), "rtu")
			}) {
				t.Error(problem)
			}
		})
	}
}

// keys are what each protocol's tags may have.
func keys() profile.Keys {
	keys := profile.Keys{}
	for _, k := range adapters.Kinds() {
		keys[k.Name] = k.TagKeys
	}
	return keys
}
