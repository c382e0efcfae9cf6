//! Named volumes and installed certificates: no key, and no private key, is in what is said, logged or kept.

use claviger::{
    AggregateName, AggregateRef, CertificateKind, CertificateName, KeyName, NewCertificate, NewVolume, ObjectRef,
    PrivateKey, VolumeName, VolumePosition,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use crate::common::{self, name, records};
use crate::{Run, XTS};

impl Run {
    pub(crate) fn volumes(&mut self) {
        let store = common::unattended();
        let engine = common::open(&store);
        let svm = engine.create_svm(&name("vs0")).unwrap().id();
        let heard = &mut self.heard;
        let text: VolumeName = "vol".parse().unwrap();
        let aggregate: AggregateName = "aggr".parse().unwrap();
        heard.display(&text);
        heard.display(&aggregate);
        heard.error(&"9".parse::<VolumeName>().unwrap_err());
        heard.error(&"9".parse::<AggregateName>().unwrap_err());
        let new = NewVolume { aggregates: vec![AggregateRef::Name(aggregate)], ..NewVolume::encrypted(text.clone()) };
        heard.debug(&new.aggregates[0]);
        heard.display(&new.kind);
        heard.debug(&new);
        let volume = engine.create_volume(svm, &new).unwrap();
        heard.debug(&volume);
        heard.debug(&volume.encryption);
        heard.error(&engine.create_volume(svm, &new).unwrap_err());
        let object = ObjectRef::Volume(volume.id);
        self.secrets.learn_key("VEK", engine.open_key(svm, object).unwrap().newest().expose()).unwrap();
        heard.error(&engine.create_key(svm, object, XTS).unwrap_err());
        let page = engine.volumes(None, None, 1).unwrap();
        heard.debug(&page.volumes[0]);
        heard.debug(&page);
        heard.debug(&VolumePosition { svm, name: text });
        let key = KeyName::of_key(svm, &engine.key(svm, object).unwrap());
        heard.display(&key);
        heard.debug(&engine.key_named(&key).unwrap().unwrap());
        heard.error(&"no name".parse::<KeyName>().unwrap_err());
        records(&*store).iter().for_each(|(.., value)| self.heard.bytes(value));
    }

    pub(crate) fn certificates(&mut self) {
        let store = common::unattended();
        let engine = common::open(&store);
        let key = KeyPair::generate().unwrap();
        let (der, other) = (key.serialize_der(), KeyPair::generate().unwrap().serialize_der());
        // The private scalar (RFC 5915); what follows it is public.
        for der in [&der, &other] {
            let at = der.windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).unwrap() + 5;
            self.secrets.learn_key("private key", &der[at..at + 32]).unwrap();
        }
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        let leaf = params.self_signed(&key).unwrap().der().clone();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();

        let heard = &mut self.heard;
        let text: CertificateName = "one".parse().unwrap();
        heard.display(&text);
        heard.error(&"".parse::<CertificateName>().unwrap_err());
        let private_key = |der: &[u8]| PrivateKey::copy_from(&common::arena(), der).unwrap();
        heard.debug(&private_key(&der));
        heard.error(&PrivateKey::copy_from(&common::arena(), &der.repeat(99)).unwrap_err());
        let new = |kind, der| NewCertificate {
            scope: None,
            name: Some(text.clone()),
            kind,
            certificate: if kind == CertificateKind::ServerCa { root.clone() } else { leaf.clone() },
            chain: Vec::new(),
            private_key: Some(private_key(der)),
        };
        for kind in [CertificateKind::Server, CertificateKind::ServerCa] {
            heard.display(&kind);
            heard.debug(&new(kind, &der));
            for wrong in [&other[..], &der[1..]] {
                heard.error(&engine.install_certificate(&new(kind, wrong)).unwrap_err());
            }
        }
        let info = engine.install_certificate(&new(CertificateKind::Server, &der)).unwrap();
        heard.debug(&info);
        heard.debug(&info.facts);
        heard.debug(&info.facts.hash.unwrap());
        heard.debug(&engine.certificates().unwrap()[0]);
        heard.error(&engine.install_certificate(&new(CertificateKind::Server, &der)).unwrap_err());
        heard.debug(&engine.verify(|_| ()).unwrap());
        heard.bytes(engine.backup().unwrap().as_bytes());
        records(&*store).iter().for_each(|(.., value)| self.heard.bytes(value));
        common::forge::change(
            &*store,
            claviger::Table::Certificates,
            &[&[0], info.id.as_bytes().as_slice()].concat(),
            |body| {
                // Inside the outer seal.
                self.heard.bytes(body.to_string().as_bytes());
                body["private_key"][0] = "00".repeat(60).into();
            },
        );
        self.heard.debug(&engine.verify(|_| ()).unwrap());
        self.heard.error(&engine.backup().unwrap_err());
    }
}
