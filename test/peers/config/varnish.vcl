vcl 4.1;
backend final { .host = "127.0.0.1"; .port = "@FINAL@"; }
# Nothing is kept and nothing is judged: what Varnish has read goes on.
sub vcl_recv { return (pass); }
