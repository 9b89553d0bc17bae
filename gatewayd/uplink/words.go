package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// refusedError is a CONNACK that says no.
type refusedError struct{ code byte }

func (e *refusedError) Error() string {
	switch e.code {
	case 1:
		return "the broker refuses MQTT 3.1.1"
	case 2:
		return "the broker refuses the client id"
	case 3:
		return "the broker says that its service is not available"
	case 4:
		return "the broker refuses the user name or the secret"
	case 5:
		return "the broker says that this client is not authorised"
	}
	return fmt.Sprintf("the broker refuses the connection with code %d", e.code)
}

// noSessionError is a connection that ended before CONNACK.
type noSessionError struct{ err error }

func (e *noSessionError) Error() string { return "connected, but no MQTT session: " + e.err.Error() }
func (e *noSessionError) Unwrap() error { return e.err }

// clientError is the MQTT client's own reason for closing a connection: no answer to a ping, a packet out of order.
type clientError struct{ err error }

func (e *clientError) Error() string { return "the MQTT client gave up: " + e.err.Error() }
func (e *clientError) Unwrap() error { return e.err }

// Causes of a session's end that the peer did not give.
var (
	errCut     = errors.New("cut by a drill")
	errRenewed = errors.New("the session has to be another one")
	errNoConn  = errors.New("no answer to CONNECT in time")
	errNoAck   = errors.New("the broker keeps the connection but acknowledges nothing")
	errHandOff = errors.New("the MQTT client did not take a message in time")
)

// byPeer says that the other end closed the connection, as a broker does over a message that it won't have.
func byPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// hint says what an installer would do about a failed connection; "" when nothing is known.
func hint(err error) string {
	var (
		refused   *refusedError
		file      *fileError
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		name      x509.HostnameError
		op        *net.OpError
		silent    *noSessionError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &refused):
		switch refused.code {
		case 2:
			return "check client in [platform]"
		case 3:
			return "it may still be starting; tried again by itself"
		case 4:
			return "check username and the secret's file"
		case 5:
			return "check the broker's access list for this client id and user name, and the client certificate"
		}
	case errors.As(err, &file):
		if errors.Is(err, fs.ErrNotExist) {
			return "put the file into the credentials folder"
		}
		if errors.Is(err, fs.ErrPermission) {
			return "make the file readable for gatewayd's user"
		}
		return "put a PEM file into the credentials folder; key and certificate must belong together"
	case errors.As(err, &authority):
		return "the broker's certificate is signed by an authority that is not trusted here: set ca to that authority's PEM file"
	case errors.As(err, &name):
		return "the broker's certificate is for another name: use the name that it is made out to in servers"
	case errors.As(err, &invalid):
		if invalid.Reason == x509.Expired {
			return "the broker's certificate is expired or not yet valid: check this box's clock first, then the certificate"
		}
		return "the broker's certificate cannot be used for this"
	case errors.As(err, &op) && op.Op == "remote error": // a TLS alert
		return "the broker refuses the TLS handshake: check cert and key, and whether the client certificate has expired"
	case errors.As(err, &record):
		return "the broker does not speak TLS on this port: use mqtt:// or another port"
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return "the name is not known: check the spelling in servers, and the DNS search domain"
		}
		return "no DNS server answers: check the network, or write an IP address into servers"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the host is there, but no broker listens on this port: check the port, and whether the broker runs"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "no route: check the cable, the modem and the default gateway"
	case errors.As(err, &silent) && byPeer(err):
		return "the broker hangs up without a word: check that this port is for MQTT (mqtts:// for TLS), the client certificate, and the broker's log"
	case errors.Is(err, errNoAck):
		return "the broker, or something on the way, is stuck: the connection is opened anew"
	case errors.Is(err, errNoConn), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "nothing comes back: check the network, and firewalls on the way"
	}
	return ""
}

// words is the error as the log and the status show it.
func words(err error) string {
	if h := hint(err); h != "" {
		return err.Error() + " (" + h + ")"
	}
	return err.Error()
}
