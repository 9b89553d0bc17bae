package config_test

import (
	"edgegateway/gatewayd/config"
)

// build is a binary like the first one: Modbus and the native dialect, everything else later.
func build() config.Build {
	wired := []string{config.KindPort, config.KindHost}
	return config.Build{
		Protocols: map[string]config.Protocol{
			"modbus":   {Lines: wired},
			"dlt645":   {Later: true, Lines: wired},
			"iec62056": {Later: true, Lines: wired},
			"serial":   {Later: true, Lines: wired, Listens: true, TagKeys: []string{"pattern"}},
			"mbus":     {Later: true, Lines: wired},
			"ble":      {Later: true, Lines: []string{config.KindRadio}, Listens: true},
		},
		Dialects: map[string]config.Dialect{
			"native":        {},
			"sparkplug":     {Later: true, Options: []string{"group", "primary_host", "aliases"}},
			"thingsboard":   {Later: true},
			"ctwing":        {Later: true, Options: []string{"product", "mode"}},
			"huawei":        {Later: true},
			"homeassistant": {Later: true, Options: []string{"discovery_prefix"}},
		},
		Verbs: []string{"status", "read", "write", "config", "restart", "scan"},
	}
}
