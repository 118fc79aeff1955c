use jem::device::*;
use jem::jem::*;
fn main() -> jem::Result<()> {
    let spec: DeviceSpec = std::env::args().nth(1).unwrap_or("cpu".into()).parse()?;
    let n: u64 = std::env::args().nth(2).map_or(20, |s| s.parse().unwrap());
    let device = Device::open(&spec, Default::default())?;
    let (train, test) = jem::data::cifar::load(std::path::Path::new("/tmp/jemdata/cifar-10-batches-bin"))?;
    let mut recipe = Preset::Tiny.recipe();
    if let Some(b) = std::env::args().nth(3) {
        recipe.batch = b.parse().unwrap();
    }
    let mut t = Trainer::new(&device, &recipe, &train)?;
    for p in t.programs() {
        println!("{}: {}", p.name, p.summary());
    }
    println!("{}", t.programs()[2]);
    println!("{}", t.programs()[4]);
    let e = t.evaluator(&test, 100)?;
    let start = std::time::Instant::now();
    for _ in 0..n {
        t.step()?;
        for m in t.metrics()? {
            if m.iteration % 10 == 0 || n < 30 {
                println!("{:.1}s {m:?}", start.elapsed().as_secs_f64());
            }
        }
    }
    for m in t.finish_metrics()? {
        println!("{m:?}");
    }
    println!(
        "{:.1} s; {:?} {:.1} s",
        start.elapsed().as_secs_f64(),
        e.evaluate(|_| ())?,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
