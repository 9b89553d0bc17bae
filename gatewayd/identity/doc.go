// Package identity is who the gateway is: a private key that never leaves it, the certificate that a platform gave for
// it, and the box that both belong to.
//
//	ticket ─► Provision ─► Keys (own key) ─► EST simpleenroll ─► certificate ─► the uplink's TLS
//	                                          simplereenroll ◄── Run, at two thirds of the certificate's life
//
// It promises that the key is made here and only its public half is sent; that a one-time secret is spent once, and
// that what was cut short can be done again with the same ticket and the same key; that a renewed certificate replaces
// the old one only when a platform has taken it, and that until then both are tried; and that a copy of the box's flash
// in another box finds out that it is one, and does not use what it copied. A caller may not assume that the clock is
// right: what a certificate or a ticket says of the time counts as the least that it can be.
package identity
