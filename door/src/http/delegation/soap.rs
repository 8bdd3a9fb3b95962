//! The envelopes of GridSite's delegation service, versions 1 and 2: read, and written.
//!
//! Both versions are SOAP with "rpc/literal" bodies and have the same operations; version 2 adds three that tell of the
//! service, and answers getNewProxyReq without an element around its two results.

use jiff::Timestamp;
use quick_xml::escape::escape;

use super::super::xml::{self, Element, Node, XmlError};

/// SOAP 1.1 and 1.2: what the envelope is in.
const ENVELOPES: [&str; 2] =
    ["http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"];
/// The two versions of the service.
const SERVICES: [&str; 2] =
    ["http://www.gridsite.org/namespaces/delegation-1", "http://www.gridsite.org/namespaces/delegation-2"];
/// What version 2 says of itself.
const INTERFACE_VERSION: &str = "2.0.0";

/// Why a body is no question for the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoapError {
    /// Not XML, or XML that is not read here.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// No envelope with a body.
    #[error("the request is no SOAP envelope with one operation in its body")]
    Envelope,
    /// Another operation, or another service.
    #[error("the delegation service has no operation {0}")]
    Operation(String),
    /// A parameter is not there.
    #[error("the parameter {0} is missing")]
    Parameter(&'static str),
}

/// How the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    envelope: &'static str,
    service: &'static str,
}

impl Dialect {
    /// For those whose envelope could not be read.
    pub const OLDEST: Self = Self { envelope: ENVELOPES[0], service: SERVICES[0] };

    fn is_second_service(self) -> bool {
        self.service == SERVICES[1]
    }

    /// The media type of what it is answered.
    pub fn media_type(self) -> &'static str {
        if self.envelope == ENVELOPES[0] {
            "text/xml; charset=utf-8"
        } else {
            "application/soap+xml; charset=utf-8"
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// The software's version.
    GetVersion,
    /// The interface's.
    GetInterfaceVersion,
    /// Something about the service.
    GetServiceMetadata {
        /// What.
        key: String,
    },
    /// A request to sign, under an id of the client's.
    GetProxyReq {
        /// The id.
        id: String,
    },
    /// The same under a new id.
    GetNewProxyReq,
    /// The same for what is delegated already.
    RenewProxyReq {
        /// The id.
        id: String,
    },
    /// The signed proxy.
    PutProxy {
        /// The id.
        id: String,
        /// PEM.
        proxy: String,
    },
    /// Until when.
    GetTerminationTime {
        /// The id.
        id: String,
    },
    /// Forget it.
    Destroy {
        /// The id.
        id: String,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Result {
    /// A text.
    Text(String),
    /// A request to sign, and its id.
    Request {
        /// PEM.
        request: String,
        /// The id.
        id: String,
    },
    /// A time.
    Time(Timestamp),
    /// That it is done.
    Done,
}

/// Reads an envelope. How the client speaks is told even when the rest cannot be understood.
pub fn read(body: &[u8]) -> (Dialect, std::result::Result<Call, SoapError>) {
    let envelope = match xml::parse(body) {
        Ok(Some(envelope)) => envelope,
        Ok(None) => return (Dialect::OLDEST, Err(SoapError::Envelope)),
        Err(error) => return (Dialect::OLDEST, Err(error.into())),
    };
    let Some(namespace) = ENVELOPES.into_iter().find(|namespace| envelope.is(namespace, "Envelope")) else {
        return (Dialect::OLDEST, Err(SoapError::Envelope));
    };
    let mut dialect = Dialect { envelope: namespace, ..Dialect::OLDEST };
    let body = envelope.elements().find(|element| element.is(namespace, "Body"));
    let mut operations = body.into_iter().flat_map(Element::elements);
    // SOAP 1.1 §5.6 lets further elements follow, which belong to the first.
    let Some(operation) = operations.next() else { return (dialect, Err(SoapError::Envelope)) };
    let Some(service) = SERVICES.into_iter().find(|service| *service == operation.namespace) else {
        return (dialect, Err(SoapError::Operation(operation.local.clone())));
    };
    dialect.service = service;
    (dialect, call(dialect, operation))
}

fn call(dialect: Dialect, operation: &Element) -> std::result::Result<Call, SoapError> {
    // "rpc": parameters are in no namespace; some clients put them into one all the same.
    let parameter = |name: &'static str| {
        let found = operation.elements().find(|element| element.local == name);
        found.map(text_of).ok_or(SoapError::Parameter(name))
    };
    let id = || parameter("delegationID");
    match operation.local.as_str() {
        "getVersion" if dialect.is_second_service() => Ok(Call::GetVersion),
        "getInterfaceVersion" if dialect.is_second_service() => Ok(Call::GetInterfaceVersion),
        "getServiceMetadata" if dialect.is_second_service() => {
            Ok(Call::GetServiceMetadata { key: parameter("key")? })
        }
        "getProxyReq" => Ok(Call::GetProxyReq { id: id()? }),
        "getNewProxyReq" => Ok(Call::GetNewProxyReq),
        "renewProxyReq" => Ok(Call::RenewProxyReq { id: id()? }),
        "putProxy" => Ok(Call::PutProxy { id: id()?, proxy: parameter("proxy")? }),
        "getTerminationTime" => Ok(Call::GetTerminationTime { id: id()? }),
        "destroy" => Ok(Call::Destroy { id: id()? }),
        other => Err(SoapError::Operation(other.to_owned())),
    }
}

/// All text in it, without the white space around.
fn text_of(element: &Element) -> String {
    let texts = element.children.iter().map(|child| match child {
        Node::Text(text) => text.as_str(),
        Node::Element(_) => "",
    });
    texts.collect::<String>().trim().to_owned()
}

impl Call {
    /// Its name as the service has it.
    pub fn name(&self) -> &'static str {
        match self {
            Call::GetVersion => "getVersion",
            Call::GetInterfaceVersion => "getInterfaceVersion",
            Call::GetServiceMetadata { .. } => "getServiceMetadata",
            Call::GetProxyReq { .. } => "getProxyReq",
            Call::GetNewProxyReq => "getNewProxyReq",
            Call::RenewProxyReq { .. } => "renewProxyReq",
            Call::PutProxy { .. } => "putProxy",
            Call::GetTerminationTime { .. } => "getTerminationTime",
            Call::Destroy { .. } => "destroy",
        }
    }
}

/// What the service says of its interface.
pub fn interface_version() -> Result {
    Result::Text(INTERFACE_VERSION.to_owned())
}

/// The envelope of an answer.
pub fn answer(dialect: Dialect, operation: &str, result: &Result) -> String {
    let returned = |text: &str| format!("<{operation}Return>{}</{operation}Return>", escape(text));
    let inner = match result {
        Result::Done => String::new(),
        Result::Text(text) => returned(text),
        Result::Time(at) => returned(&at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        Result::Request { request, id } => {
            let both = format!(
                "<proxyRequest>{}</proxyRequest><delegationID>{}</delegationID>",
                escape(request),
                escape(id)
            );
            if dialect.is_second_service() {
                both
            } else {
                format!("<{operation}Return>{both}</{operation}Return>")
            }
        }
    };
    let service = dialect.service;
    envelope(
        dialect,
        &format!("<d:{operation}Response xmlns:d=\"{service}\">{inner}</d:{operation}Response>"),
    )
}

/// The envelope of a refusal. `theirs`: whether the client has to change something.
pub fn fault(dialect: Dialect, theirs: bool, text: &str) -> String {
    let text = escape(text);
    // The service's own element for it; what is in it has another name in each version.
    let message = if dialect.is_second_service() { "msg" } else { "message" };
    let detail = format!(
        "<d:DelegationException xmlns:d=\"{}\"><{message}>{text}</{message}></d:DelegationException>",
        dialect.service
    );
    let fault = if dialect.envelope == ENVELOPES[0] {
        let code = if theirs { "Client" } else { "Server" };
        format!(
            "<s:Fault><faultcode>s:{code}</faultcode><faultstring>{text}</faultstring><detail>{detail}</detail></s:Fault>"
        )
    } else {
        let code = if theirs { "Sender" } else { "Receiver" };
        format!(
            "<s:Fault><s:Code><s:Value>s:{code}</s:Value></s:Code><s:Reason><s:Text xml:lang=\"en\">{text}</s:Text>\
             </s:Reason><s:Detail>{detail}</s:Detail></s:Fault>"
        )
    };
    envelope(dialect, &fault)
}

fn envelope(dialect: Dialect, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<s:Envelope xmlns:s=\"{}\"><s:Body>{body}</s:Body></s:Envelope>\n",
        dialect.envelope
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asked(
        envelope: usize,
        service: usize,
        operation: &str,
    ) -> (Dialect, std::result::Result<Call, SoapError>) {
        let (envelope, service) = (ENVELOPES[envelope], SERVICES[service]);
        // The declarations are where a client of GridSite's has them.
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SOAP-ENV:Envelope xmlns:SOAP-ENV=\"{envelope}\" \
             xmlns:ns=\"{service}\"><SOAP-ENV:Body>{operation}</SOAP-ENV:Body></SOAP-ENV:Envelope>"
        );
        read(body.as_bytes())
    }

    #[test]
    fn every_operation_is_read_as_clients_write_it() {
        let id = || "x1".to_owned();
        let table = [
            (0, "<ns:getNewProxyReq></ns:getNewProxyReq>", Call::GetNewProxyReq),
            (1, "<ns:getNewProxyReq/>", Call::GetNewProxyReq),
            (
                0,
                "<ns:getProxyReq><delegationID></delegationID></ns:getProxyReq>",
                Call::GetProxyReq { id: String::new() },
            ),
            (
                1,
                "<ns:renewProxyReq><delegationID>x1</delegationID></ns:renewProxyReq>",
                Call::RenewProxyReq { id: id() },
            ),
            (
                0,
                "<ns:putProxy><delegationID>x1</delegationID><proxy>-----BEGIN&#10;A&amp;B</proxy></ns:putProxy>",
                Call::PutProxy { id: id(), proxy: "-----BEGIN\nA&B".to_owned() },
            ),
            (
                0,
                "<ns:getTerminationTime><delegationID> x1\n</delegationID></ns:getTerminationTime>",
                Call::GetTerminationTime { id: id() },
            ),
            (1, "<ns:destroy><ns:delegationID>x1</ns:delegationID></ns:destroy>", Call::Destroy { id: id() }),
            (1, "<ns:getVersion/>", Call::GetVersion),
            (1, "<ns:getInterfaceVersion/>", Call::GetInterfaceVersion),
            (
                1,
                "<ns:getServiceMetadata><key>k</key></ns:getServiceMetadata>",
                Call::GetServiceMetadata { key: "k".into() },
            ),
        ];
        for (service, operation, expected) in table {
            let (dialect, call) = asked(0, service, operation);
            assert_eq!(call.as_ref(), Ok(&expected), "{operation}");
            assert_eq!(dialect.service, SERVICES[service]);
            assert!(operation.starts_with(&format!("<ns:{}", expected.name())));
        }
    }

    #[test]
    fn what_is_no_operation_of_the_service_is_told_in_the_clients_own_dialect() {
        let wrong = |text: &str| SoapError::Operation(text.to_owned());
        let table = [
            (1, 1, "", SoapError::Envelope),
            (0, 0, "<ns:getInterfaceVersion/>", wrong("getInterfaceVersion")),
            (0, 1, "<ns:deleteEverything/>", wrong("deleteEverything")),
            (0, 1, "<destroy/>", wrong("destroy")),
            (0, 1, "<ns:destroy/>", SoapError::Parameter("delegationID")),
            (
                1,
                0,
                "<ns:putProxy><delegationID>x</delegationID></ns:putProxy>",
                SoapError::Parameter("proxy"),
            ),
        ];
        for (envelope, service, operation, expected) in table {
            let (dialect, call) = asked(envelope, service, operation);
            assert_eq!(call, Err(expected), "{operation}");
            assert_eq!(dialect.envelope, ENVELOPES[envelope]);
        }
        assert_eq!(read(b"").1, Err(SoapError::Envelope));
        assert_eq!(read(b"<Envelope/>").1, Err(SoapError::Envelope));
        assert_eq!(read(b"<a>").1, Err(SoapError::Xml(XmlError::NotXml)));
        let bomb = "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>";
        assert_eq!(read(bomb.as_bytes()).1, Err(SoapError::Xml(XmlError::DocType)));
    }

    #[test]
    fn a_new_request_is_wrapped_in_the_first_version_only() {
        let result = Result::Request { request: "P<Q".into(), id: "x1".into() };
        let (one, _) = asked(0, 0, "<ns:getNewProxyReq/>");
        let first = answer(one, "getNewProxyReq", &result);
        let inner = "<proxyRequest>P&lt;Q</proxyRequest><delegationID>x1</delegationID>";
        assert!(first.contains(&format!("<getNewProxyReqReturn>{inner}</getNewProxyReqReturn>")), "{first}");
        let (two, _) = asked(1, 1, "<ns:getNewProxyReq/>");
        let second = answer(two, "getNewProxyReq", &result);
        assert!(
            second.contains(&format!(
                "Response xmlns:d=\"{}\">{inner}</d:getNewProxyReqResponse>",
                SERVICES[1]
            )),
            "{second}"
        );
        assert_eq!(one.media_type(), "text/xml; charset=utf-8");
        assert_eq!(two.media_type(), "application/soap+xml; charset=utf-8");
    }

    #[test]
    fn answers_and_faults_are_xml_in_all_dialects() {
        let at = Timestamp::from_second(1_927_843_200).unwrap();
        for (envelope, namespace) in ENVELOPES.into_iter().enumerate() {
            for service in 0..2 {
                let (dialect, _) = asked(envelope, service, "<ns:getNewProxyReq/>");
                let time = answer(dialect, "getTerminationTime", &Result::Time(at));
                assert!(
                    time.contains(
                        "<getTerminationTimeReturn>2031-02-03T00:00:00Z</getTerminationTimeReturn>"
                    )
                );
                let fault = fault(dialect, true, "not <so>");
                assert!(fault.contains("not &lt;so&gt;"), "{fault}");
                for text in [time, fault, answer(dialect, "putProxy", &Result::Done)] {
                    let root = xml::parse(text.as_bytes()).unwrap().unwrap();
                    assert!(root.is(namespace, "Envelope"));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in "(<[a:]{1,3}( xmlns:a='[a-z]')?>|</[a:]{1,3}>|&lt;|x){0,10}") {
            let _ = read(body.as_bytes());
        }
    }
}
