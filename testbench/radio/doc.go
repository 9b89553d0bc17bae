// Package radio runs the real daemon on a BlueZ of the test bench's own: what its users see of a radio, and what
// outlives a restart. Its tests need dbus-daemon, and are skipped with a message where there is none.
package radio
