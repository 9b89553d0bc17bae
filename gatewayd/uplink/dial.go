package uplink

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 5 * time.Second  // of the TCP connection: SYN, and two repeats of it, and of the name before it
	nameTimeout = 2 * time.Second  // for the answer of one name server, before the next one is asked
	userTimeout = 20 * time.Second // for which the kernel may hold data that the peer does not acknowledge
)

// server is one broker of the failover list.
type server struct {
	url  string // as configured
	host string // for certificates
	addr string // host:port
	tls  bool
}

// parseServer reads "mqtt://host:1883" (also tcp://) or "mqtts://host:8883" (also ssl://, tls://). The port may be
// left out.
func parseServer(s string) (server, error) {
	fault := func(why string) (server, error) {
		return server{}, fmt.Errorf("servers: %q: %s; write mqtt://host:1883, or mqtts://host:8883 for TLS", s, why)
	}
	u, err := url.Parse(s)
	if err != nil {
		return fault("is no URL")
	}
	out := server{url: s, host: u.Hostname()}
	port := u.Port()
	switch u.Scheme {
	case "mqtt", "tcp":
		if port == "" {
			port = "1883"
		}
	case "mqtts", "ssl", "tls":
		out.tls = true
		if port == "" {
			port = "8883"
		}
	default:
		return fault(fmt.Sprintf("%q is no scheme for MQTT", u.Scheme))
	}
	switch {
	case out.host == "":
		return fault("has no host")
	case u.User != nil:
		return fault("a user name or secret does not belong here: set username and secret")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return fault("nothing may follow the port")
	}
	out.addr = net.JoinHostPort(out.host, port)
	return out, nil
}

// credentials are the files that a connection needs. They are read at each connect, so a renewed certificate or secret
// takes effect with the next connection and needs no restart.
type credentials struct {
	secret, ca, cert, key string
	identity              func() (tls.Certificate, error) // in place of cert and key; nil for those
}

// password gives the secret without the line end that editors add; "" when there is none.
func (c credentials) password() (string, error) {
	if c.secret == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.secret)
	if err != nil {
		return "", &fileError{"secret", err}
	}
	return string(bytes.TrimRight(b, "\r\n")), nil
}

// config gives TLS settings for one connection. The server's name is always verified; without a CA file the system's
// roots count.
func (c credentials) config(host string) (*tls.Config, error) {
	t := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, &fileError{"ca", err}
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &fileError{"ca", fmt.Errorf("%s holds no PEM certificate", c.ca)}
		}
	}
	if c.identity != nil {
		own, err := c.identity()
		if err != nil {
			return nil, &fileError{"identity", err}
		}
		t.Certificates = []tls.Certificate{own}
	} else if c.cert != "" || c.key != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, &fileError{"cert and key", err}
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// fileError says which key of the platform's table names a file that cannot be used.
type fileError struct {
	key string
	err error
}

func (e *fileError) Error() string { return e.key + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// dial opens the way to a broker: TCP with bounded patience, then TLS when the URL asks for it. It goes where the URL
// says: proxies from the environment are not followed. The second connection is the socket below the first.
func dial(ctx context.Context, s server, c credentials) (conn, socket net.Conn, err error) {
	d := net.Dialer{Timeout: dialTimeout, Resolver: names(new(net.Dialer).DialContext)}
	socket, err = d.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, nil, err
	}
	if err := setUserTimeout(socket, userTimeout); err != nil {
		socket.Close()
		return nil, nil, fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
	}
	if !s.tls {
		return socket, socket, nil
	}
	config, err := c.config(s.host)
	if err != nil {
		socket.Close()
		return nil, nil, err
	}
	secure := tls.Client(socket, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		socket.Close()
		return nil, nil, err
	}
	return secure, socket, nil
}

// names asks the name servers of the system, by way of dial. The resolver itself gives each of them 5 s: with the first
// one dead, the attempt would be over before the second was ever asked.
func names(dial func(ctx context.Context, network, address string) (net.Conn, error)) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if udp, ok := c.(*net.UDPConn); ok {
			return impatient{udp}, err
		}
		return c, err
	}}
}

// impatient is a way to a name server whose answer is not waited for longer than nameTimeout.
type impatient struct{ *net.UDPConn }

func (c impatient) SetDeadline(t time.Time) error {
	if soon := time.Now().Add(nameTimeout); soon.Before(t) {
		t = soon
	}
	return c.UDPConn.SetDeadline(t)
}

// setUserTimeout bounds how long the kernel waits for TCP acknowledgements: without it a dead peer is noticed after a
// quarter of an hour.
func setUserTimeout(c net.Conn, d time.Duration) error {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return errors.New("not a TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	}); err != nil {
		return err
	}
	return set
}
