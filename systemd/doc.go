// Package systemd is what the daemon and its service manager say to each other: ready, status, reloading, stopping, signs
// of life, and the log. The unit file stands in the same folder, and a test holds it against the daemon.
//
// It promises that everything here works, and does nothing, where there is no systemd: in a terminal, in a container,
// in a test. A caller may not assume that a notification was acted upon: the manager answers nothing, so an error
// says only that the message could not be handed over. It is a leaf, and keeps no state of its own: the environment
// that the manager set is read at each call.
package systemd
