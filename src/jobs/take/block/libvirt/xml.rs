//! The XML that libvirt speaks: what a domain has, what a backup and a checkpoint are to be.
//!
//! Format: libvirt's `formatdomain`, `formatbackup` and `formatcheckpoint`. Promises: names and paths are escaped; of what
//! libvirt tells, only what is named here is looked at.

use super::place::Place;
use crate::source::block::Method;
use roxmltree::{Document, Node};
use std::fmt::Write;
use std::path::Path;

/// What the bitmap of a pull backup is called on its export: `qemu:dirty-bitmap:` and this.
pub(in crate::jobs::take) const EXPORTED_BITMAP: &str = "dirty";

/// A disk of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DomainDisk {
    /// What libvirt calls it: `vda`.
    pub(super) target: String,
    /// The format of its image: `qcow2`, `raw`.
    pub(super) format: String,
}

/// A backup that is to be begun.
pub(super) struct Wanted<'a> {
    pub(super) method: Method,
    /// The disk.
    pub(super) disk: &'a str,
    /// All disks of the domain: the others are left out by name.
    pub(super) disks: &'a [DomainDisk],
    /// The checkpoint that it counts from; none: everything.
    pub(super) since: Option<&'a str>,
    pub(super) place: &'a Place,
}

/// Returns the disks that a domain has, without its CD drives and floppies.
pub(super) fn disks(domain: &str) -> Result<Vec<DomainDisk>, roxmltree::Error> {
    let document = Document::parse(domain)?;
    let is_disk = |node: &Node<'_, '_>| {
        node.has_tag_name("disk")
            && node.parent().is_some_and(|parent| parent.has_tag_name("devices"))
            && matches!(node.attribute("device"), None | Some("disk"))
    };
    let disks = document.descendants().filter(is_disk).filter_map(|disk| {
        let target = child(disk, "target")?.attribute("dev")?.to_owned();
        let format = child(disk, "driver").and_then(|driver| driver.attribute("type")).unwrap_or("raw").to_owned();
        Some(DomainDisk { target, format })
    });
    Ok(disks.collect())
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// Returns where the server of a running backup listens, or the files that it writes.
pub(super) fn places(backup: &str) -> Result<Vec<String>, roxmltree::Error> {
    let document = Document::parse(backup)?;
    let place = |node: Node<'_, '_>| match node.tag_name().name() {
        "server" => node.attribute("socket").map(str::to_owned),
        "target" => node.attribute("file").map(str::to_owned),
        _ => None,
    };
    Ok(document.descendants().filter_map(place).collect())
}

/// Returns the description of a backup.
pub(super) fn backup(wanted: &Wanted<'_>) -> String {
    let mut out = String::from("<domainbackup mode='");
    out.push_str(match wanted.method {
        Method::Pull => "pull'>",
        Method::Push => "push'>",
    });
    if let Some(since) = wanted.since {
        write!(out, "<incremental>{}</incremental>", escape(since)).expect("text takes text");
    }
    let path = |path: &Path| escape(&path.to_string_lossy());
    if wanted.method == Method::Pull {
        write!(out, "<server transport='unix' socket='{}'/>", path(&wanted.place.socket)).expect("text takes text");
    }
    out.push_str("<disks>");
    for disk in wanted.disks {
        let name = escape(&disk.target);
        let written = match (disk.target == wanted.disk, wanted.method) {
            (false, _) => write!(out, "<disk name='{name}' backup='no'/>"),
            (true, Method::Pull) => {
                let bitmap = wanted.since.map_or_else(String::new, |_| format!(" exportbitmap='{EXPORTED_BITMAP}'"));
                write!(
                    out,
                    "<disk name='{name}' backup='yes' type='file' exportname='{name}'{bitmap}>\
                     <driver type='qcow2'/><scratch file='{}'/></disk>",
                    path(&wanted.place.scratch)
                )
            }
            (true, Method::Push) => write!(
                out,
                "<disk name='{name}' backup='yes' type='file'><driver type='qcow2'/><target file='{}'/></disk>",
                path(&wanted.place.target)
            ),
        };
        written.expect("text takes text");
    }
    out.push_str("</disks></domainbackup>\n");
    out
}

/// Returns the description of a checkpoint of one disk.
pub(super) fn checkpoint(name: &str, disk: &str, disks: &[DomainDisk]) -> String {
    let mut out = format!("<domaincheckpoint><name>{}</name><disks>", escape(name));
    for one in disks {
        let kind = if one.target == disk { "bitmap" } else { "no" };
        write!(out, "<disk name='{}' checkpoint='{kind}'/>", escape(&one.target)).expect("text takes text");
    }
    out.push_str("</disks></domaincheckpoint>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "<domain type='qemu'><name>vm1</name><devices>
        <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/a.qcow2'/>
          <backingStore type='file'><format type='raw'/></backingStore><target dev='vda' bus='virtio'/></disk>
        <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/></disk>
        <disk type='block'><source dev='/dev/x'/><target dev='vdb'/></disk></devices></domain>";

    #[test]
    fn a_domain_tells_its_disks() {
        let disk = |target: &str, format: &str| DomainDisk { target: target.to_owned(), format: format.to_owned() };
        assert_eq!(disks(DOMAIN).unwrap(), [disk("vda", "qcow2"), disk("vdb", "raw")]);
        assert!(disks("<domain>").is_err());
    }

    #[test]
    fn a_backup_is_of_one_disk_and_names_are_escaped() {
        let disks = disks(DOMAIN).unwrap();
        let place = Place { socket: "/t/s".into(), scratch: "/t/o'k".into(), target: "/i/t.qcow2".into() };
        let mut wanted = Wanted { method: Method::Pull, disk: "vda", disks: &disks, since: Some("a<b"), place: &place };
        let pull = "<domainbackup mode='pull'><incremental>a&lt;b</incremental><server transport='unix' socket='/t/s'/>\
                    <disks><disk name='vda' backup='yes' type='file' exportname='vda' exportbitmap='dirty'>\
                    <driver type='qcow2'/><scratch file='/t/o&apos;k'/></disk><disk name='vdb' backup='no'/></disks></domainbackup>\n";
        assert_eq!(backup(&wanted), pull);
        assert_eq!(places(&backup(&wanted)).unwrap(), ["/t/s"]);
        (wanted.method, wanted.since) = (Method::Push, None);
        let push = "<domainbackup mode='push'><disks><disk name='vda' backup='yes' type='file'><driver type='qcow2'/>\
                    <target file='/i/t.qcow2'/></disk><disk name='vdb' backup='no'/></disks></domainbackup>\n";
        assert_eq!(backup(&wanted), push);
        assert_eq!(places(&backup(&wanted)).unwrap(), ["/i/t.qcow2"]);
        let made = "<domaincheckpoint><name>c&amp;1</name><disks><disk name='vda' checkpoint='bitmap'/>\
                    <disk name='vdb' checkpoint='no'/></disks></domaincheckpoint>\n";
        assert_eq!(checkpoint("c&1", "vda", &disks), made);
    }
}
