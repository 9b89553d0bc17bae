// Package candidate keeps the configurations that came from afar, and which of them holds.
//
//	config/state.json       which generation is kept, and which one is on trial; written anew as a whole each time
//	config/gen-7/           a whole configuration: gatewayd.toml, conf.d/, profiles/, credentials/
//
//	installer's files ─┐
//	kept generation  ──┴─► Begin(trial) ─► Keep
//	                            └──────────► Return, also when the daemon starts and was not asked to go on with a trial
//
// It promises that a power cut or a crash at any moment leaves either the configuration from before or the new one to
// start with, whole, and that a trial which it interrupts is over: the old one is back. The installer's own files are
// never touched; when they change, they go before whatever came from afar.
//
// A caller may not assume that a generation works: that is what the trial is for.
package candidate
